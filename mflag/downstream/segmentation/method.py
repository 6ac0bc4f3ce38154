"""The part of a segmentation's report that says how it was measured."""

from mflag.downstream.report_lookup import Results
from mflag.downstream.report_sections import LABEL_DRAWS, intervals
from mflag.reporting.page import Section, definitions

_LOSSES = {
    "focal_dice": "10 · focal loss (γ = 2) − log of the soft Dice over the batch, as MGCA",
    "cross_entropy_dice": "binary cross-entropy + 1 − soft Dice over the batch",
}
_BATCHNORM = {
    "frozen": "no weight and no BatchNorm statistic of it moves.",
    "update": "no weight of it moves, but its BatchNorm statistics follow the training images, as "
    "in MGCA's code.",
}


def method_section(results: Results) -> Section:
    """Return what was measured, how."""
    o = results["options"]
    size = f"{o['image_size']} pixels" if o["image_size"] else "the encoder's own size"
    affine = o["affine"]
    pairs: list[tuple[object, object]] = [
        (
            "Network",
            "U-Net of segmentation_models_pytorch; the encoder's weights are loaded strictly and "
            f"frozen: {_BATCHNORM[o['batchnorm']]} The decoder starts from random weights.",
        ),
        (
            "Training",
            f"{_LOSSES[o['loss']]}; AdamW, learning rate {o['lr']:g} with 5 % warm-up and a "
            f"cosine, weight decay {o['weight_decay']:g}, batches of {o['batch_size']}, {size}, "
            f"{o['precision']}; image and mask together scaled by up to ±{100 * affine['scale']:g} "
            f"% and rotated by up to ±{affine['rotation_degrees']:g}°, with probability "
            f"{affine['probability']:g}. At most {o['epochs']} epochs (of 10 steps or more); "
            f"training stops after {o['patience']} without a better Dice over all pixels of valid, "
            "and the best epoch counts (MGCA goes by the loss on valid). Test is looked at once.",
        ),
        (
            "Masks",
            "Lesions on the prepared 256 × 256 grid, boxes filled, several of an image in one "
            "mask, brought to the network's size by the nearest pixel. A pixel is predicted where "
            "its probability is above 0.5.",
        ),
        (
            "Dice",
            "2 · |P ∩ T| / (|P| + |T|) in each image, from whole numbers of pixels, averaged over "
            "images, not batches. Over all images an empty prediction of an empty mask counts 1, "
            "any other prediction of an empty mask 0 (MGCA, GLoRIA), so a test set of mostly "
            "healthy images rewards predicting nothing. Over images with a mask neither counts. "
            "Over all pixels: 2 · Σ|P ∩ T| / Σ(|P| + |T|).",
        ),
        LABEL_DRAWS,
        intervals(results),
    ]
    return Section("method", "How it was measured", definitions(pairs))
