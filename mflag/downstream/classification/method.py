"""The part of a classification's report that says how it was measured, and with what."""

from mflag.data.label_policy import POLICIES
from mflag.downstream.report_lookup import Results
from mflag.reporting.markup import join, tag
from mflag.reporting.page import Section, definitions, paragraph
from mflag.reporting.tables import table


def method_section(results: Results) -> Section:
    """Return what was measured, how."""
    options, data = results["options"], results["data"]
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
        (
            "Intervals",
            f"Bootstrap over the {data['test_patients']:,} test patients, "
            f"{options['resamples']:,} resamples, 2.5 and 97.5 % quantiles; all images of a "
            "patient are drawn together, and the same resamples serve every encoder. They do not "
            "cover training the encoder again.",
        ),
    ]
    return Section("method", "How it was measured", definitions(pairs))


def _draws(folds: int | None, seeds: int) -> tuple[object, object]:
    if folds is None:
        return (
            "Label draws",
            "Rows of the train split, drawn with seeds 0, 1, …, the same rows for every encoder. A "
            "smaller fraction is a part of the larger one of the same seed; drawn_ids.parquet "
            "lists them. At 100 % nothing is drawn, so there is one seed.",
        )
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


def provenance_section(results: Results) -> Section:
    """Return encoders, command, versions, machine."""
    rows = [
        [e["name"], e["arch"], f"{e['image_size']} px", e["origin"]] for e in results["encoders"]
    ]
    encoders = table("Encoders.", ["name", "architecture", "input", "weights"], rows)
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    command = tag("pre", tag("code", results["command"]))
    body = join(
        encoders, tag("h3", "Command"), command, paragraph(versions), paragraph(results["machine"])
    )
    return Section("provenance", "Where it comes from", body)
