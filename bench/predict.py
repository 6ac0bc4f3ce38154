"""Predict the GPU's times from bytes, FLOPs, launches and compiled resources.

    python -m bench.predict        writes bench/results/predictions.json

No figure here was measured; bench/prediction.py states the model.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bench.machine import command_line
from bench.plans import works
from bench.prediction import (
    BANDWIDTH_SHARE,
    CUBLAS_SHARE,
    ENOUGH_WARPS,
    FIRST_LAUNCH_US,
    GPUS,
    NEXT_LAUNCH_US,
    OWN_SHARE,
    Gpu,
    occupancies,
    predict_us,
)
from bench.targets import TARGETS
from mflag.runtime.atomic_write import write_json

RESULTS = Path(__file__).parents[1] / "bench" / "results"


def main() -> None:
    """Write predictions.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    compiled = json.loads((RESULTS / "compiled.json").read_text())
    content = {
        "format": 1,
        "kind": "prediction, not measurement",
        "command": command_line("bench.predict"),
        "assumptions": {
            "first_launch_us": FIRST_LAUNCH_US,
            "next_launch_us": NEXT_LAUNCH_US,
            "bandwidth_share": BANDWIDTH_SHARE,
            "cublas_share": CUBLAS_SHARE,
            "own_share": OWN_SHARE,
            "enough_warps": ENOUGH_WARPS,
            "gpus": {name: gpu._asdict() for name, gpu in GPUS.items()},
        },
        "rows": [row for name, gpu in GPUS.items() for row in rows_of(name, gpu, compiled)],
    }
    write_json(given.out / "predictions.json", content)
    print(f"written: {given.out / 'predictions.json'}")


def rows_of(name: str, gpu: Gpu, compiled: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row an op and shape on one GPU."""
    rows = []
    for work in works(gpu.capability):
        resident = occupancies(compiled, work.op, gpu.capability)
        microseconds = predict_us(work.ours.steps, gpu, resident, work.ours.launches)
        peers = {
            peer: predict_us(plan.steps, gpu, {}, plan.launches)
            for peer, plan in work.peers.items()
        }
        rows.append(
            {
                "op": work.op,
                "shape": work.shape,
                "dtype": "float32",
                "gpu": name,
                "us": microseconds,
                "launches": work.ours.launches or len(work.ours.steps),
                "bytes_moved": sum(step.bytes_moved for step in work.ours.steps),
                "flops": sum(step.flops for step in work.ours.steps),
                "peers": [
                    {"peer": peer, "us": us, "ratio": us / microseconds}
                    | _target(work.op, work.shape, peer)
                    for peer, us in peers.items()
                ],
            }
        )
    return rows


def _target(op: str, shape: str, peer: str) -> dict[str, float | None]:
    """The least ratio that the GPU target asks for."""
    for target in TARGETS:
        key = (target.device, target.op, target.shape, target.peer)
        if key == ("cuda", op, shape, peer) and target.must is not None:
            if target.measure in ("ratio", "time"):
                return {"must": target.must if target.measure == "ratio" else 1 / target.must}
    return {"must": None}


if __name__ == "__main__":
    main()
