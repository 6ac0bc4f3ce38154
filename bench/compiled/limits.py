"""What a compiled kernel may not do."""

from typing import Any

from bench.compiled.architecture import ARCHITECTURES


def complaints(row: dict[str, Any]) -> list[str]:
    """Return what is wrong with one row of compiled.json; nothing for a good one."""
    limit = ARCHITECTURES[int(row["arch"].removeprefix("sm_"))].shared_block
    name = f"{row['op']} {row['kernel']} {row['case']} {row['dtype']} {row['arch']}"
    wrong = []
    if row["cubin_bytes"] <= 0:
        wrong.append(f"{name}: nothing was compiled")
    if row["spills"]:
        wrong.append(f"{name}: {row['spills']} bytes a thread go to memory; make the tile smaller")
    if row["shared"] > limit:
        wrong.append(f"{name}: {row['shared']} bytes of shared memory; a block has {limit}")
    if row["occupancy"] < 1:
        wrong.append(f"{name}: no block of {row['threads']} threads fits on a multiprocessor")
    if row["products"] == "fma" and not row["fma"]:
        wrong.append(f"{name}: no float32 multiply-add for its products")
    if row["products"] != "mma" and row["mma"]:
        wrong.append(f"{name}: {row['mma']} tensor-core instructions; its products are IEEE")
    if row["products"] == "mma" and not row["mma"]:
        wrong.append(f"{name}: no tensor-core instruction")
    return wrong
