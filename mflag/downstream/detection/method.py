"""The part of a detection's report that says how it was measured."""

from mflag.downstream.detection.protocols import MAX_DETECTIONS, NMS_IOU, SCORE_FLOOR, SURE
from mflag.downstream.report_lookup import Results
from mflag.downstream.report_sections import LABEL_DRAWS, intervals
from mflag.reporting.page import Section, definitions


def method_section(results: Results) -> Section:
    """Return what was measured, how."""
    o = results["options"]
    size = f"{o['image_size']} pixels" if o["image_size"] else "the encoder's own size"
    pairs: list[tuple[object, object]] = [
        (
            "Encoder",
            "Frozen: no gradient, BatchNorm by its stored statistics. Feature maps of strides 8, "
            f"16 and 32, in float32, of images at {size} without augmentation.",
        ),
        (
            "Detector",
            "Neck and head of ultralytics' yolov3.yaml (three scales, no anchors) for one class, "
            "in proportion to the encoder's width, with ultralytics' detection loss (box, class, "
            f"distribution). AdamW, learning rate {o['lr']:g} with 5 % warm-up and a cosine, "
            f"weight decay {o['weight_decay']:g}, batches of {o['batch_size']}. At most "
            f"{o['epochs']} epochs (of 10 steps or more); training stops after {o['patience']} "
            "without a better mAP over every image of valid, and the best epoch counts. Test is "
            "looked at once.",
        ),
        (
            "mAP",
            "COCO's 101-point average precision, mean over IoU 0.40, 0.45, …, 0.75. Predictions "
            f"that a surer one overlaps by IoU {NMS_IOU:g} are dropped.",
        ),
        (
            "Every image (map_full)",
            f"Scores from {SCORE_FLOOR:g} on, at most {MAX_DETECTIONS} predictions an image; "
            "predictions on images without a box are false alarms.",
        ),
        (
            "mgca (map_mgca)",
            f"Scores from {SURE:g} on; images without a true box or without such a prediction are "
            "left out. Where none is kept, 0.",
        ),
        LABEL_DRAWS,
        intervals(results),
        (
            "Licence",
            "ultralytics is under AGPL-3.0; it was installed as an extra and is not part of mflag.",
        ),
    ]
    return Section("method", "How it was measured", definitions(pairs))
