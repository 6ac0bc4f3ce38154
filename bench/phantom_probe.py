"""What a linear model reads off small pixels of generated studies.

python -m bench.phantom_probe
"""

import argparse

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from mflag.data.phantom import ATTRIBUTES, FINDINGS, generate_study

CELL = 8  # 256 to 32 pixels
COMPONENTS = 150


def main() -> None:
    """Print AUC by finding for 40, 400 and all labels, and R² of the attributes for 400."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3000, help="the last third is for testing")
    chosen = parser.parse_args()
    pixels, labels, attributes, normal = [], [], [], 0
    for index in range(chosen.count):
        study = generate_study(chosen.seed, index)
        small = study.image.reshape(256 // CELL, CELL, 256 // CELL, CELL).mean(axis=(1, 3))
        pixels.append(small.ravel() / 255.0)
        labels.append(list(study.labels.values()))
        attributes.append(list(study.attributes.values()))
        normal += not study.lesions
    x, y, z = np.array(pixels), np.array(labels), np.array(attributes)
    train = chosen.count * 2 // 3
    x = PCA(COMPONENTS, random_state=0).fit(x[:train]).transform(x)
    x /= x.std(axis=0)
    print(f"normal {normal / chosen.count:.2f}")
    print("prevalence", dict(zip(FINDINGS, y.mean(axis=0).round(2).tolist(), strict=True)))
    for count in (40, 400, train):
        aucs = []
        for k in range(len(FINDINGS)):
            probe = LogisticRegression(C=0.01, max_iter=500).fit(x[:count], y[:count, k])
            aucs.append(float(roc_auc_score(y[train:, k], probe.decision_function(x[train:]))))
        by_finding = {f: round(auc, 2) for f, auc in zip(FINDINGS, aucs, strict=True)}
        print(f"AUC, {count} labels: macro {np.mean(aucs):.2f}", by_finding)
    for k, name in enumerate(ATTRIBUTES):
        ridge = Ridge(10.0).fit(x[:400], z[:400, k])
        print(f"R2 {name} {ridge.score(x[train:], z[train:, k]):.2f}")


if __name__ == "__main__":
    main()
