"""Generated studies: an image, its report, what was drawn and where."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mflag.data.phantom import anatomy, opacities, pleura
from mflag.data.phantom.bones import draw_bones
from mflag.data.phantom.changes import Changes, Site
from mflag.data.phantom.devices import draw_device, draw_skin_leads
from mflag.data.phantom.draws import Array, Draws, Purpose
from mflag.data.phantom.findings import Condition, labels_of
from mflag.data.phantom.fractures import Fracture
from mflag.data.phantom.frame import Frame, Position
from mflag.data.phantom.marker import burn_markers
from mflag.data.phantom.patient import Patient, locate, make_patient
from mflag.data.phantom.render import Exposure, collimate, develop
from mflag.data.phantom.report import write_report
from mflag.data.phantom.texture import Texture
from mflag.data.phantom.vessels import draw_vessels
from mflag.errors import InputError

ATTRIBUTES: tuple[str, ...] = (
    "lung_width",
    "lung_height",
    "shift_x",
    "shift_y",
    "rotation_degrees",
    "build",
)
LEAST_SEEN = 12  # pixels of a finding
Mask = NDArray[np.bool_]
# Shape and bones are drawn by the anatomy, devices on top of it.
DRAW: dict[str, Callable[[Site, Condition, Changes], None]] = {
    "Lung Opacity": opacities.draw_opacity,
    "Lung Lesion": opacities.draw_lesion,
    "Edema": opacities.draw_edema,
    "Consolidation": opacities.draw_consolidation,
    "Pneumonia": opacities.draw_pneumonia,
    "Atelectasis": opacities.draw_atelectasis,
    "Pneumothorax": pleura.draw_pneumothorax,
    "Pleural Effusion": pleura.draw_effusion,
    "Pleural Other": pleura.draw_pleural_other,
}


@dataclass(frozen=True)
class Lesion:
    """A finding where it is seen.

    Attributes:
        finding: one of ``FINDINGS``.
        laterality: "left", "right", "both" or "midline", from the patient's point of view; of a
            device, where it enters.
        zone: "upper", "middle", "lower", "perihilar", "cardiac" or "mediastinal".
        severity: "mild", "moderate" or "severe"; of a device, how conspicuous it is.
        kind: "nodule" or "mass" (30 mm and more) of a lung lesion, "haze" or "reticular" of a lung
            opacity, "thickening", "apical_cap" or "plaque" of the pleura, "rib" or "clavicle" of a
            fracture, which device; empty for other findings.
        size_mm: diameter of a lung lesion, a pixel being 1.4 mm; NaN for other findings.
        box: x, y, width, height of the mask's bounding box, pixels.
        mask: (256, 256) bool.
    """

    finding: str
    laterality: str
    zone: str
    severity: str
    kind: str
    size_mm: float
    box: tuple[int, int, int, int]
    mask: Mask


@dataclass(frozen=True)
class Study:
    """A generated study; no patient stands behind it.

    Attributes:
        id: "phantom-" and eight digits.
        patient: "p" and seven digits; studies of one patient share it.
        image: (256, 256) uint8, dense is bright; the patient's left is on the right.
        text: the report.
        labels: 1.0 or 0.0 for each of ``LABELS``: what was drawn and what that implies, said in
            the report or not.
        mentions: for each of ``LABELS`` what the report says: 1.0 stated, 0.0 denied, -1.0 hedged,
            NaN not mentioned; nothing is implied.
        attributes: a number for each of ``ATTRIBUTES``; no report says anything about them.
            Lengths in pixels, ``build`` from about -1 (slight) to 1 (stout).
        lesions: each finding at each place.
    """

    id: str
    patient: str
    image: NDArray[np.uint8]
    text: str
    labels: dict[str, float]
    mentions: dict[str, float]
    attributes: dict[str, float]
    lesions: tuple[Lesion, ...]


def generate_study(seed: int, index: int) -> Study:
    """Return one generated study: a pure function of seed and index.

    Args:
        seed: which series, 0 or more.
        index: which study of the series, 0 or more; a patient's studies follow one another.

    Raises:
        InputError: seed or index is below 0 or beyond 64 bits.
    """
    for name, value in (("seed", seed), ("index", index)):
        if not 0 <= value < 2**64:
            raise InputError(f"{name} is {value!r}; give a whole number from 0 to 2**64 - 1")
    number, visit = locate(seed, index)
    patient = make_patient(seed, number)
    conditions = patient.visits[visit]
    position = _position(patient, Draws(seed, index, Purpose.POSITION))
    report = write_report(conditions, visit > 0, Draws(seed, index, Purpose.REPORT))
    image, masks = _draw(Frame(position), patient, conditions, (seed, index))
    return Study(
        id=f"phantom-{index:08d}",
        patient=f"p{number:07d}",
        image=image,
        text=report.text,
        labels=labels_of(c.finding for c in conditions),
        mentions=report.mentions,
        attributes={
            "lung_width": 2.0 * position.width,
            "lung_height": position.height,
            "shift_x": position.shift_x,
            "shift_y": position.shift_y,
            "rotation_degrees": position.rotation_degrees,
            "build": patient.build,
        },
        lesions=tuple(_lesion(c, mask) for c, mask in zip(conditions, masks, strict=True)),
    )


def _position(patient: Patient, draws: Draws) -> Position:
    """Return where and how large the chest lies on the detector, and how deeply it is inhaled."""
    zoom = draws.normal(1.0, 0.035)
    return Position(
        width=patient.width * zoom,
        height=patient.height * zoom * draws.normal(1.0, 0.055),
        shift_x=draws.normal(0.0, 5.0),
        shift_y=draws.normal(-5.0, 5.5),
        rotation_degrees=draws.normal(0.0, 2.4),
    )


def _lesion(condition: Condition, mask: Mask) -> Lesion:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    box = (x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)
    return Lesion(
        finding=condition.finding,
        laterality=condition.side,
        zone=condition.zone,
        severity=condition.severity,
        kind=condition.detail,
        size_mm=condition.size_mm,
        box=box,
        mask=mask,
    )


def _draw(
    frame: Frame, patient: Patient, conditions: tuple[Condition, ...], key: tuple[int, int]
) -> tuple[NDArray[np.uint8], list[Mask]]:
    """Return the image, and one mask for each condition."""
    anatomy_draws = Draws(*key, Purpose.ANATOMY)
    lungs = anatomy.make_lungs(frame, _shape(patient, conditions), anatomy_draws)
    texture = Texture.draw(anatomy_draws)
    site = Site(frame, lungs, texture, Draws(*key, Purpose.FINDINGS))
    attenuation, masks = _attenuation(site, patient, conditions, anatomy_draws)
    distractors = Draws(*key, Purpose.DISTRACTORS)
    if distractors.chance(0.3):
        attenuation += draw_skin_leads(frame, distractors)
    exposure = Exposure.draw(Draws(*key, Purpose.EXPOSURE))
    grey = develop(attenuation, exposure, texture)
    open_field = collimate(distractors)
    if any(np.count_nonzero(mask & open_field) < LEAST_SEEN for mask in masks):
        open_field[:] = True  # nobody closes the beam over what is to be seen
    grey[~open_field] = distractors.pick((0.0, 0.0, 4.0, 12.0))
    burn_markers(grey, distractors)
    image = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return image, [mask & open_field for mask in masks]


def _shape(patient: Patient, conditions: tuple[Condition, ...]) -> anatomy.Shape:
    heart, wider, raised = patient.heart, 0.0, {"left": 0.0, "right": 0.0}
    for condition in conditions:
        if condition.finding == "Cardiomegaly":
            heart = 0.5 + 0.19 * condition.amount + 0.25 * (patient.heart - 0.45)
        elif condition.finding == "Enlarged Cardiomediastinum":
            wider = 0.055 + 0.12 * condition.amount
        elif condition.finding == "Atelectasis" and condition.zone == "lower":
            raised[condition.side] = 0.03 + 0.13 * condition.amount
    return anatomy.Shape(heart, wider, (raised["right"], raised["left"]))


def _attenuation(
    site: Site, patient: Patient, conditions: tuple[Condition, ...], draws: Draws
) -> tuple[Array, list[Mask]]:
    """Return (256, 256) attenuation of the patient and the devices, and each condition's mask."""
    frame, lungs = site.frame, site.lungs
    changes, found = Changes(), {}
    for condition in conditions:
        if condition.finding in DRAW:
            DRAW[condition.finding](site, condition, changes)
            found[condition] = changes.masks[-1]
    broken = {c: Fracture.draw(c, site.draws) for c in conditions if c.finding == "Fracture"}
    congestion = max((c.amount for c in conditions if c.finding == "Edema"), default=0.0)
    total = _tissue(site, patient, changes, 1.0 + 0.25 * congestion, draws)
    total += draws.uniform(0.08, 0.12) * draw_bones(frame, lungs, tuple(broken.values()), draws)
    for condition in conditions:
        if condition.finding == "Support Devices":
            shadow, found[condition] = draw_device(frame, condition, site.draws)
            total += shadow
        elif condition.finding == "Fracture":
            found[condition] = broken[condition].mask
        elif condition.finding == "Cardiomegaly":
            heart = (lungs.hilum < 0.0) & (frame.v > 0.45) & (lungs.dome > -0.06)
            found[condition] = heart & (lungs.wall > 0.0)
        elif condition.finding == "Enlarged Cardiomediastinum":
            above = (lungs.hilum < 0.0) & (frame.v > 0.02) & (frame.v < 0.5)
            found[condition] = above & (lungs.wall > 0.0)
    return total, [found[condition] for condition in conditions]


def _tissue(site: Site, patient: Patient, changes: Changes, fullness: float, draws: Draws) -> Array:
    """Return (256, 256) attenuation of everything but bones and devices."""
    frame, lungs = site.frame, site.lungs
    body = anatomy.draw_body(frame, patient, draws)
    vessels = draw_vessels(frame, fullness, draws) * lungs.field
    texture = site.texture
    air = lungs.air * changes.air
    air *= 1.0 + 0.05 * texture.coarse + 0.08 * texture.fine
    body *= 1.0 + 0.022 * texture.broad + 0.012 * texture.coarse[::-1]
    total = (0.86 + 0.08 * patient.build) * body
    total += anatomy.draw_mediastinum(frame, lungs, draws)
    vessels *= draws.uniform(0.09, 0.14)
    vessels *= changes.vessels
    total += vessels
    air *= 0.49 - 0.04 * patient.build
    total -= air
    anatomy.add_breasts(total, frame, patient)
    anatomy.add_airways(total, frame, draws)
    anatomy.add_stomach(total, frame, lungs, draws)
    return total + changes.added
