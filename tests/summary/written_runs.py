"""Folders as the programs leave them, small, with hostile names in them."""

import json

from mflag.ablation.statistics import INTERVAL, differences, summarise
from mflag.downstream.results import provenance
from mflag.reporting.gallery import Picture, write_pictures

ATTACK = "<script>alert(1)</script>"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def write_log(folder, steps=(1, 50, 100), **figures):
    """A training run: its log and settings."""
    lines = [
        {"step": step, "loss": 2 - step / 100, "loss_alignment": 1.5, "lr": 0.001,
         "images_per_second": 100.0, "effective_rank": 20.0 + step, "effective_rank_cap": 512.0}
        | figures
        for step in steps
    ]  # fmt: skip
    write(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    settings = "output_dir: /home/someone/runs/x\ndata:\n  source: phantom\nseed: 0\ntrain:\n  "
    write(folder / "config.yaml", f"{settings}epochs: {len(steps)}\n")


def write_data(folder, dataset="phantom", **changes):
    """What the page reads of a prepared set."""
    info = {
        "format": 2, "dataset": dataset, "count": 100, "patients": 50, "image_size": 256,
        "splits": {"train": 80, "valid": 10, "test": 10}, "labels": ["edema", ATTACK],
        "attributes": ["build"], "options": {"root": "/home/someone/raw", "seed": 0, "csv": None},
        "rejected": 3, "hashes": {"manifest.parquet": dataset},
        "remarks": ["warning: 2 patients in two splits"],
    }  # fmt: skip
    steps = [
        {"name": "all", "kept": 110, "dropped": 0, "published": 200, "note": ""},
        {"name": "frontal", "kept": 100, "dropped": 10, "published": None, "note": "lateral 10"},
    ]
    write(folder / "prepared.json", info | changes)
    write(folder / "funnel.json", {"format": 2, "steps": steps})
    rejected = "file,reason\na.png,cannot be decoded: broken\nb.png,cannot be decoded: x\nc,odd\n"
    write(folder / "rejected.csv", rejected)


def write_ablation(folder, dataset="phantom"):
    """A small ablation by the program's own statistics."""
    rows = [
        {"variant": variant, "seed": seed, "task": "classification", "protocol": "linear",
         "fraction": 0.01, "metric": "macro_auc", "value": 0.6 + 0.01 * seed + 0.1 * place,
         "n": 3, "n_train": 10, "patients_half_width": 0.02}
        for place, variant in enumerate(("both", "align_only"))
        for seed in range(3)
    ]  # fmt: skip
    variants = [
        {"name": name, "hash": "0a1b", "is_trained": True, "seeds": [0, 1, 2],
         "settings": {"loss.orthogonality_share": share}}
        for name, share in (("both", 0.1), ("align_only", None))
    ]  # fmt: skip
    content = {
        "format": 1, "reference": "both", "variants": variants, "interval": INTERVAL,
        "data": {"classification": {"dataset": dataset}}, "rows": rows,
        "summary": summarise(rows), "differences": differences(rows, "both"),
        "missing": [], "failures": [],
    }  # fmt: skip
    write(folder / "ablation.json", content | provenance("mflag.ablate"))


def copy_evaluation(made, folder, dataset="phantom", pictures=True):
    """An evaluation as if it were of another dataset, with pictures that say so."""
    content = json.loads((made / "evaluation/results.json").read_text())
    content["data"]["dataset"] = dataset
    content["rows"] = [row | {"dataset": dataset} for row in content["rows"]]
    write(folder / "results.json", content)
    if pictures:
        png = (made / "evaluation/pictures/001.png").read_bytes()
        shown = [Picture(png, f"study of {dataset}", ATTACK, f"Text of {dataset} {ATTACK}")]
        write_pictures(shown, folder)


def unknown_task(made):
    """Results of a task that does not exist."""
    content = json.loads((made / "evaluation/results.json").read_text())
    return content | {"task": "diagnosis"}
