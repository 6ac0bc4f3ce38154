"""Boxes around the discs of ``tests.evaluate_program.write_prepared``."""

import pandas as pd

BOX = {"x": 50, "y": 50, "width": 80, "height": 80}


def add_lesions(folder, rows=None):
    """Write ``lesions.parquet``: a box in each image with a disc, or in those of ``rows``."""
    manifest = pd.read_parquet(folder / "manifest.parquet")
    has_box = manifest["label/disc"] == 1 if rows is None else manifest.index.isin(rows)
    table = pd.DataFrame({"id": manifest["id"][has_box], "finding": "disc"} | BOX)
    table["runs"] = [[] for _ in table["id"]]
    table.to_parquet(folder / "lesions.parquet")
    return folder
