"""How a finding begins: where, how much, of which kind."""

from mflag.data.phantom.draws import Draws
from mflag.data.phantom.findings import Condition

DEVICES = ("tracheal_tube", "central_line", "pacemaker", "chest_tube", "gastric_tube")
# Places repeated by how often they are seen.
_ZONES: dict[str, tuple[str, ...]] = {
    "Pleural Effusion": ("lower",),
    "Pneumothorax": ("upper",),
    "Atelectasis": ("lower", "lower", "lower", "middle"),
    "Consolidation": ("upper", "middle", "middle", "lower", "lower", "lower"),
    "Pneumonia": ("upper", "middle", "middle", "lower", "lower"),
    "Lung Lesion": ("upper", "middle", "lower"),
    "haze": ("upper", "middle", "middle", "lower", "lower"),
    "reticular": ("upper", "lower", "lower"),
    "thickening": ("middle", "lower", "lower"),
    "apical_cap": ("upper",),
    "plaque": ("middle", "lower"),
    "rib": ("upper", "middle", "middle", "lower"),
    "clavicle": ("upper",),
}
_BOTH_SIDES = {
    "Pleural Effusion": 0.28,
    "Consolidation": 0.18,
    "Pneumonia": 0.12,
    "Atelectasis": 0.2,
    "Lung Lesion": 0.08,
    "Lung Opacity": 0.3,
    "Pleural Other": 0.3,
}
_KINDS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "Lung Opacity": (("haze", "reticular"), (0.65, 0.35)),
    "Pleural Other": (("thickening", "apical_cap", "plaque"), (0.45, 0.3, 0.25)),
    "Fracture": (("rib", "clavicle"), (0.75, 0.25)),
}
_MIDLINE = {
    "Edema": ("both", "perihilar"),
    "Cardiomegaly": ("midline", "cardiac"),
    "Enlarged Cardiomediastinum": ("midline", "mediastinal"),
}


def begin(draws: Draws, finding: str) -> list[Condition]:
    """Return a new finding: one condition a place."""
    amount = draws.uniform()
    if finding == "Support Devices":
        kinds = draws.shuffled(DEVICES)[: draws.pick((1, 2, 3), (0.6, 0.3, 0.1))]
        return [_device(draws, kind) for kind in kinds]
    if finding in _MIDLINE:
        return [Condition(finding, *_MIDLINE[finding], amount)]
    kind = draws.pick(*_KINDS[finding]) if finding in _KINDS else ""
    sides = _sides(draws, finding)
    zone = draws.pick(_ZONES[kind or finding])
    return [
        Condition(
            finding,
            side,
            zone,
            max(0.0, min(0.999, amount + draws.uniform(-0.12, 0.12))),
            kind=kind,
        )
        for side in sides
    ]


def _sides(draws: Draws, finding: str) -> tuple[str, ...]:
    if draws.chance(_BOTH_SIDES.get(finding, 0.0)):
        return ("right", "left")
    return (draws.pick(("right", "left"), (0.53, 0.47)),)


def _device(draws: Draws, kind: str) -> Condition:
    # A device has no severity: its amount says how conspicuous it is.
    zone, amount, sides = {
        "tracheal_tube": ("upper", 0.5, ("midline",)),
        "central_line": ("upper", 0.2, ("right", "right", "left")),
        "pacemaker": ("upper", 0.9, ("left", "left", "left", "right")),
        "chest_tube": ("middle", 0.5, ("left", "right")),
        "gastric_tube": ("middle", 0.5, ("midline",)),
    }[kind]
    return Condition("Support Devices", draws.pick(sides), zone, amount, kind=kind)
