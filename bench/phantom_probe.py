"""What a linear model reads off small pixels of generated studies.

python -m bench.phantom_probe
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from bench.machine import command_line
from mflag.data.phantom import ATTRIBUTES, LABELS, generate_study
from mflag.runtime.atomic_write import write_json

CELL = 8  # 256 to 32 pixels
COMPONENTS = 150


def main() -> None:
    """Write AUC by finding for 40, 400 and all labels, and R² of the attributes for 400."""
    parser = argparse.ArgumentParser(prog="python -m bench.phantom_probe", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3000, help="the last third is for testing")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/phantom-probe.json"))
    chosen = parser.parse_args()
    pixels, labels, attributes, texts = [], [], [], []
    for index in range(chosen.count):
        study = generate_study(chosen.seed, index)
        small = study.image.reshape(256 // CELL, CELL, 256 // CELL, CELL).mean(axis=(1, 3))
        pixels.append(small.ravel() / 255.0)
        labels.append(list(study.labels.values()))
        attributes.append(list(study.attributes.values()))
        texts.append(study.text)
    x, y, z = np.array(pixels), np.array(labels), np.array(attributes)
    train = chosen.count * 2 // 3
    x = PCA(COMPONENTS, random_state=0).fit(x[:train]).transform(x)
    x /= x.std(axis=0)
    content = {
        "format": 1,
        "command": command_line("bench.phantom_probe"),
        "studies": chosen.count,
        "normal": float(y[:, LABELS.index("No Finding")].mean()),
        "distinct_texts": len(set(texts)),
        "words": float(np.mean([len(text.split()) for text in texts])),
        "findings": [_finding(k, x, y, train) for k in range(len(LABELS))],
        "attributes": {
            name: float(Ridge(10.0).fit(x[:400], z[:400, k]).score(x[train:], z[train:, k]))
            for k, name in enumerate(ATTRIBUTES)
        },
    }
    write_json(chosen.out, content)


def _finding(k: int, x: np.ndarray, y: np.ndarray, train: int) -> dict[str, Any]:
    row: dict[str, Any] = {"finding": LABELS[k], "share": float(y[:, k].mean())}
    for count in (40, 400, train):
        if len(np.unique(y[:count, k])) < 2:  # a rare finding: none among the labelled
            row[f"auc_{count}"] = None
            continue
        probe = LogisticRegression(C=0.01, max_iter=500).fit(x[:count], y[:count, k])
        row[f"auc_{count}"] = float(roc_auc_score(y[train:, k], probe.decision_function(x[train:])))
    return row


if __name__ == "__main__":
    main()
