"""What a generated study needs to lie in a real dataset's tables: person, views, dates."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mflag.data.phantom import Study, generate_study
from mflag.data.phantom.draws import Draws, Purpose
from mflag.data.phantom.patient import VISITS_IN_BLOCK, locate, make_patient
from mflag.data.phantom_formats.lateral import draw_lateral

DEVICE_AP = 0.8  # the bedridden are imaged from the front: a shortcut that real sets have too
OTHER_AP = 0.2
LATERAL, REPEAT = 0.6, 0.15
_BLOCK = sum(VISITS_IN_BLOCK)


@dataclass(frozen=True)
class View:
    """One image of a study.

    Attributes:
        position: "PA", "AP" or "LATERAL".
        image: (256, 256) uint8.
    """

    position: str
    image: np.ndarray


class Facts:
    """A generated study and what surrounds it; a pure function of seed and index.

    Attributes:
        seed: of the series.
        index: of the study in it.
        number: of the patient, from 0.
        visit: 0, 1 or 2: which study of the patient.
        sex: "F" or "M".
        age: years, the same or one more from visit to visit.
        date: yyyymmdd, in the future like the shifted dates of real sets.
        position: "PA" or "AP", of the frontal image.
    """

    def __init__(self, seed: int, index: int) -> None:
        """Draw the person and the acquisition; the study itself is generated when asked for."""
        self.seed, self.index = seed, index
        self.number, self.visit = locate(seed, index)
        person = Draws(seed, self.number, Purpose.PERSON)
        self.sex = "F" if make_patient(seed, self.number).breast > 0 else "M"
        self.age = 20 + int(person.uniform(0, 68)) + self.visit
        year, month, day = (int(person.uniform(*span)) for span in ((2110, 2190), (1, 9), (1, 29)))
        self.date = 10000 * (year + self.visit) + 100 * (month + self.visit) + day
        self.acquisition = Draws(seed, index, Purpose.ACQUISITION)
        conditions = make_patient(seed, self.number).visits[self.visit]
        has_device = any(c.finding == "Support Devices" for c in conditions)
        is_ap = self.acquisition.chance(DEVICE_AP if has_device else OTHER_AP)
        self.position = "AP" if is_ap else "PA"
        self._has_lateral = self.acquisition.chance(LATERAL) and not is_ap
        self._is_repeated = self.acquisition.chance(REPEAT)

    @cached_property
    def study(self) -> Study:
        """The generated study."""
        return generate_study(self.seed, self.index)

    @cached_property
    def views(self) -> list[View]:
        """The frontal image; of some studies a second exposure of it, of some a lateral one."""
        views = [View(self.position, self.study.image)]
        if self._is_repeated:
            views.append(View(self.position, _exposed_again(self.study.image)))
        if self._has_lateral:
            views.append(View("LATERAL", draw_lateral(self.acquisition)))
        return views

    def name(self, *what: object) -> str:
        """A name of 40 hexadecimal digits for something of this study."""
        return named(self.seed, self.index, *what)


def named(*what: object) -> str:
    """A name of 40 hexadecimal digits that depends on ``what`` alone."""
    return hashlib.sha1("/".join(map(str, what)).encode(), usedforsecurity=False).hexdigest()


def first_study(seed: int, number: int) -> int:
    """The index of a patient's first study."""
    start = number // len(VISITS_IN_BLOCK) * _BLOCK
    return next(i for i in range(start, start + _BLOCK) if locate(seed, i) == (number, 0))


def takes_patient(seed: int, number: int, is_positive: bool) -> bool:
    """Whether a challenge's set has a patient: all positive ones and two fifths of the others.

    So about a fifth of a tree is positive, as in the real sets (22 %).
    """
    return is_positive or int(named(seed, number, "challenge"), 16) % 5 < 2


def _exposed_again(image: np.ndarray) -> np.ndarray:
    """The same chest, darker; what is where stays the same."""
    return np.rint(255 * (image / 255) ** 1.3).astype(np.uint8)
