"""The part of a classification's report that says how it was measured."""

from mflag.data.label_policy import POLICIES
from mflag.downstream.report_lookup import Results
from mflag.downstream.report_sections import LABEL_DRAWS, intervals
from mflag.reporting.page import Section, definitions


def method_section(results: Results) -> Section:
    """Return what was measured, how."""
    options = results["options"]
    grid = ", ".join(f"{c:g}" for c in options["inverse_penalties"])
    folds = options.get("folds")
    pairs: list[tuple[object, object]] = [
        (
            "Features",
            "Global average pool, eval mode, float32, no projector, no augmentation. Images are "
            "resized to the encoder's own size and normalised as its file says.",
        ),
        (
            "Probe",
            "Features are standardised on the labelled rows. One L2 logistic regression a label "
            f"(scikit-learn, lbfgs); one C out of {grid} for all labels, chosen by macro AUC on "
            + ("folds of the training part." if folds else "valid. Test is looked at once."),
        ),
        *_finetuning(options),
        (
            "Labels",
            f"Policy {options['label_policy']}: {POLICIES[options['label_policy']]}. A masked "
            "label counts neither in training nor in a score.",
        ),
        _draws(folds, options["seeds"]),
        (
            "Macro AUC",
            "Mean of the one-vs-rest AUC over labels, each over all test images at once "
            "(torchmetrics). Labels without positives or negatives are left out, by name.",
        ),
        intervals(results),
    ]
    return Section("method", "How it was measured", definitions(pairs))


def _draws(folds: int | None, seeds: int) -> tuple[object, object]:
    if folds is None:
        return LABEL_DRAWS
    return (
        "Cross-validation",
        f"All images in {folds} parts, a patient's images in one, about equal shares of the labels "
        "in each. Each part is scored by a fit on the others; C is chosen by a cross-validation "
        "within those. Scores are over all images at once. Repeated with "
        f"{seeds} partitions (seeds 0, 1, …); the table's own splits are not used.",
    )


def _finetuning(options: Results) -> list[tuple[object, object]]:
    if "finetune" not in options["protocol"]:
        return []
    o = options["finetune"]
    size = f"{o['image_size']} pixels" if o["image_size"] else "the encoder's own size"
    text = (
        "All layers and a linear head, from the encoder's weights; binary cross-entropy over the "
        f"unmasked labels; AdamW, learning rate {o['lr']:g} with 5 % warm-up and a cosine, weight "
        f"decay {o['weight_decay']:g}, batches of {o['batch_size']}, {size}, {o['precision']}; "
        "random crops, rotations, brightness and contrast. At most "
        f"{o['epochs']} epochs (of 10 steps or more); training stops after {o['patience']} without "
        "a better macro AUC on valid, and the best epoch counts. Test is looked at once."
    )
    return [("Fine-tuning", text)]
