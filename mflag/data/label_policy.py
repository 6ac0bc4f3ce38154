"""What uncertain (-1) and unmentioned (blank) labels count as: the named policies of CheXpert."""

import numpy as np

from mflag.errors import InputError

POLICIES = {
    "zeros": "uncertain and blank count as absent (CheXclusion)",
    "ones": "uncertain counts as present, blank as absent (CheXpert's U-Ones)",
    "ignore": "uncertain is left out, blank counts as absent (CheXpert's U-Ignore)",
    "mixed": (
        "uncertain counts as present for Atelectasis, Edema, Pleural Effusion, as absent for "
        "Cardiomegaly, Consolidation; blank as absent; other labels are left out (MGCA, GLoRIA)"
    ),
    "nan": (
        "uncertain and blank are left out, except that No Finding makes the others absent "
        "(TorchXRayVision)"
    ),
}
# CheXpert's competition classes: what an uncertain label becomes.
MIXED = {
    "Atelectasis": 1, "Cardiomegaly": 0, "Consolidation": 0, "Edema": 1, "Pleural Effusion": 1,
}  # fmt: skip
NO_FINDING, DEVICES = "No Finding", "Support Devices"
# TorchXRayVision's MIMIC reader takes devices for findings; its CheXpert reader does not.
_WITHOUT_DEVICES = {"mimic_cxr"}


def check_label_policy(policy: str, names: list[str] | None = None) -> None:
    """Refuse a policy that there is not, or that leaves no label.

    Args:
        policy: its name.
        names: of the labels, when they are known.

    Raises:
        InputError: with the policies that there are.
    """
    if policy not in POLICIES:
        raise InputError(f"task.label_policy is {policy!r}; choose one of {', '.join(POLICIES)}")
    if policy == "mixed" and names is not None and not MIXED.keys() & set(names):
        raise InputError(
            f"task.label_policy is 'mixed', which keeps {', '.join(MIXED)} alone, but the labels "
            f"are {', '.join(names)}; choose another policy"
        )


def apply_label_policy(
    values: np.ndarray, names: list[str], policy: str, dataset: str = ""
) -> np.ndarray:
    """Return labels that are present, absent or masked.

    Args:
        values: (n, k) float: 1 present, 0 absent, -1 uncertain, NaN not mentioned.
        names: (k) of the labels; canonical ones where ``mixed`` and ``nan`` look at them.
        policy: a key of ``POLICIES``. ``nan`` makes every other label of an image with No Finding
            absent, and keeps Support Devices as they are (CheXpert has both in 8,808 images).
        dataset: with ``mimic_cxr`` that exception falls, as in TorchXRayVision.

    Returns:
        (n, k) float32 of 1, 0 and NaN (masked). ``values`` stays as it is.

    Raises:
        InputError: an unknown policy, or one that leaves no label.
    """
    check_label_policy(policy, names)
    labels = np.array(values, np.float32)
    uncertain, blank = labels == -1, np.isnan(labels)
    labels[uncertain] = {"zeros": 0, "ones": 1}.get(policy, np.nan)
    if policy != "nan":
        labels[blank] = 0
    if policy == "mixed":
        for k, name in enumerate(names):
            labels[uncertain[:, k], k] = MIXED.get(name, np.nan)
            if name not in MIXED:
                labels[:, k] = np.nan
    if policy == "nan" and NO_FINDING in names:
        healthy = labels[:, names.index(NO_FINDING)] == 1
        kept = {NO_FINDING} if dataset in _WITHOUT_DEVICES else {NO_FINDING, DEVICES}
        others = [k for k, name in enumerate(names) if name not in kept]
        labels[np.ix_(healthy, others)] = 0
    return labels
