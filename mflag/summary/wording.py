"""How the page calls things: datasets, tasks, scores."""

DATASETS = {
    "phantom": "generated studies",
    "mimic_cxr": "MIMIC-CXR",
    "chexpert": "CheXpert",
    "nih": "NIH ChestX-ray14",
    "rsna": "RSNA Pneumonia",
    "siim": "SIIM-ACR Pneumothorax",
    "openi": "Open-i",
    "csv": "a table of images",
}
TASK_NAMES = {"zero_shot": "Zero-shot classification"}
METRICS = {
    "macro_auc": "Macro AUC",
    "unmentioned_r2": "Mean R² of what no report mentions",
    "dice_all": "Dice over all images, where nothing marked on an image without lesion counts 1",
    "dice_positive": "Dice over images with a lesion",
    "dice_pooled": "Dice over the pixels of all images together",
    "empty_specificity": "Share of images without lesion on which nothing is marked",
    "map_mgca": "mAP, MGCA's protocol (only images with boxes and with predictions)",
    "map_full": "mAP over all images",
    "median_rank": "Median rank of an image's own report",
}
# Shown first, by task; every other score is folded.
HEADLINES = {
    "classification": ("macro_auc",),
    "segmentation": ("dice_all", "dice_positive"),
    "detection": ("map_mgca", "map_full"),
    "retrieval": ("recall@10",),
    "zero_shot": ("macro_auc",),
}
# Baselines that are scores of their own, by the score that they belong to.
BASELINES = {
    "dice_all": ("dice_all_empty_baseline", "dice_all_ones_baseline"),
    "dice_positive": ("dice_positive_ones_baseline",),
    "map_full": ("map_full_no_prediction_baseline", "map_full_mean_box_baseline"),
    "map_mgca": ("map_mgca_no_prediction_baseline", "map_mgca_mean_box_baseline"),
}
_FAMILIES = {
    "recall@": "Share of images whose own report is among the first {}",
    "precision_exact@": "Share of an image's own report among the first {}",
    "precision_findings@": "Share of reports with exactly the image's findings among the first {}",
}
GENERATED = "phantom"


def dataset_words(name: object) -> str:
    """What readers call a dataset."""
    return DATASETS.get(str(name), str(name))


def task_words(name: str) -> str:
    """What readers call a task."""
    return TASK_NAMES.get(name, name.replace("_", " ").capitalize())


def metric_words(name: str) -> str:
    """What a score is."""
    family, at, rank = name.partition("@")
    words = _FAMILIES.get(family + at)
    return words.format(rank) if words else METRICS.get(name, name)
