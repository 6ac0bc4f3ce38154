"""Reports of generated studies, in varied wording, from the conditions alone.

The writer never sees position, build or exposure, so no report can give them away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mflag.data.phantom import phrases, sentences
from mflag.data.phantom.draws import Draws
from mflag.data.phantom.findings import FINDINGS, LABELS, NO_FINDING, Condition, with_implied

MENTIONED = 0.94
UNSURE = {"mild": 0.3, "moderate": 0.12, "severe": 0.03}
# How often an absent finding is denied: in a sentence of its own, and in a list with others.
DENIED_ALONE = {
    "Enlarged Cardiomediastinum": 0.3,
    "Cardiomegaly": 0.72,
    "Fracture": 0.3,
    "Support Devices": 0.12,
}
DENIED_IN_LIST = {
    "Pleural Effusion": 0.8,
    "Pneumothorax": 0.8,
    "Consolidation": 0.55,
    "Pneumonia": 0.25,
    "Lung Opacity": 0.2,
    "Edema": 0.35,
    "Lung Lesion": 0.2,
    "Atelectasis": 0.12,
    "Pleural Other": 0.06,
}


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        text: all of it, with or without headers.
        mentions: for each of ``LABELS`` what the text says: 1.0 stated, 0.0 denied, -1.0 only
            hedged, NaN not mentioned. As CheXpert's labeller has it, nothing is implied, and
            "No Finding" is 1.0 where nothing but devices is stated or hedged, else NaN.
    """

    text: str
    mentions: dict[str, float]


@dataclass(frozen=True)
class Noun:
    """A finding as a noun phrase."""

    bare: str
    plural: bool
    counted: bool

    def fill(self, template: str) -> str:
        """Return the template with this phrase in it."""
        article = ""
        if self.counted and not self.plural:
            article = "an " if self.bare[0] in "aeiou" else "a "
        text = template.replace("{np}", article + self.bare).replace("{bare}", self.bare)
        text = text.replace("{Np}", self.bare[0].upper() + self.bare[1:])
        return text.replace("{is}", "are" if self.plural else "is")


def write_report(conditions: Sequence[Condition], is_follow_up: bool, draws: Draws) -> Report:
    """Return the report of one study.

    Args:
        conditions: what was drawn into the image.
        is_follow_up: whether the patient has an earlier study to compare with.
        draws: the stream of the report.
    """
    groups = [[c for c in conditions if c.finding == finding] for finding in FINDINGS]
    told = draws.shuffled([group for group in groups if group and draws.chance(MENTIONED)])
    present = with_implied(condition.finding for condition in conditions)
    absent = [finding for finding in FINDINGS if finding not in present]
    said: dict[str, float] = {}
    positive = [_statement(group, is_follow_up, said, draws) for group in told]
    findings = _order(positive, _negatives(absent, said, draws), draws)
    if draws.chance(0.4):
        findings.insert(0, draws.pick(sentences.OPENINGS))
    for aside in draws.shuffled(sentences.ASIDES)[: draws.pick((0, 1, 2), (0.45, 0.4, 0.15))]:
        findings.append(aside)
    concluded: dict[str, float] = {}
    impression = _impression(told, absent, concluded, draws)
    text, with_impression = _layout(" ".join(findings), impression, draws)
    if with_impression:
        for finding, value in concluded.items():
            said[finding] = max(value, said.get(finding, value))  # a statement outweighs a hedge
    return Report(text, _mentions(said))


def _mentions(said: dict[str, float]) -> dict[str, float]:
    mentions = {label: said.get(label, math.nan) for label in LABELS}
    if not any(value for finding, value in said.items() if finding != "Support Devices"):
        mentions[NO_FINDING] = 1.0
    return mentions


def _layout(findings: str, impression: str, draws: Draws) -> tuple[str, bool]:
    """Return the text, and whether the impression is in it."""
    first, second = draws.pick(sentences.HEADERS)
    layout = draws.uniform()
    if layout < 0.6:
        return f"{first} {findings} {second} {impression}", True
    if layout < 0.75:
        return f"{second} {impression} {first} {findings}", True
    if layout < 0.88:
        return f"{findings} {impression}", True
    return f"{first} {findings}", False


def _order(positive: list[str], negative: list[str], draws: Draws) -> list[str]:
    if draws.chance(0.6):
        return positive + negative
    return draws.shuffled(positive + negative)


def _statement(
    group: list[Condition], is_follow_up: bool, said: dict[str, float], draws: Draws
) -> str:
    """Return the sentence, or for devices the sentences, about one finding."""
    finding = group[0].finding
    if finding == "Support Devices":
        said[finding] = 1.0
        return " ".join(_device(condition, draws) for condition in group)
    noun = _noun(group, draws)
    unsure = draws.chance(UNSURE[group[0].severity])
    said[finding] = -1.0 if unsure else 1.0
    sentence = noun.fill(draws.pick(sentences.UNCERTAIN if unsure else sentences.CERTAIN))
    if is_follow_up and not unsure and draws.chance(0.55):
        sentence = f"{sentence[:-1]}, {draws.pick(sentences.CHANGED[_change(group[0])])}."
    return sentence


def _change(condition: Condition) -> str:
    if condition.change is None:
        return "new"
    if abs(condition.change) < 0.08:
        return "same"
    return "more" if condition.change > 0 else "less"


def _noun(group: list[Condition], draws: Draws) -> Noun:
    largest = max(group, key=lambda condition: condition.amount)
    name = largest.detail or largest.finding
    if largest.broken_ribs > 1:
        name = "ribs"
    elif len({condition.detail for condition in group}) > 1:
        name = "nodule and mass"
    single, both = draws.pick(phrases.NOUNS[name])
    words = phrases.SEVERITY.get(largest.finding, phrases.OTHER_SEVERITY)[largest.severity]
    several = len(group) > 1 and both is not None
    template = both if len(group) > 1 and both is not None else single
    zone = draws.pick(phrases.ZONE_WORDS.get(largest.zone, ("",)))
    zone = "lower" if zone == "basal" and largest.finding == "Fracture" else zone
    severity_word = "" if draws.chance(0.12) and "{sev}ly" not in template else draws.pick(words)
    if not severity_word and "{sev}ly" in template:
        severity_word = words[0]
    size = f"{0.1 * largest.size_mm:.1f}"
    bare = template.format(sev=severity_word, side=largest.side, zone=zone, size=size)
    bare = " ".join(bare.split())
    countable = not any(word in bare for word in phrases.UNCOUNTABLE)
    plural = countable and (several or name in phrases.ALWAYS_PLURAL)
    return Noun(bare, plural, countable)


def _device(condition: Condition, draws: Draws) -> str:
    sentence = draws.pick(sentences.DEVICES[condition.kind])
    side = condition.side
    return sentence.replace("{side}", side).replace("{Side}", side.capitalize())


def _negatives(absent: list[str], said: dict[str, float], draws: Draws) -> list[str]:
    """Return sentences that deny some of the absent findings; the rest stay unsaid."""
    written = []
    for finding, chance in DENIED_ALONE.items():
        if finding in absent and draws.chance(chance):
            written.append(draws.pick(sentences.NEGATIVE[finding]))
            said[finding] = 0.0
    lungs = [finding for finding in DENIED_IN_LIST if finding in absent]
    if len(lungs) == len(DENIED_IN_LIST) and draws.chance(0.7):
        written.append(draws.pick(sentences.CLEAR))
    denied = draws.shuffled([finding for finding in lungs if draws.chance(DENIED_IN_LIST[finding])])
    said |= dict.fromkeys(denied, 0.0)
    while denied:
        count = min(len(denied), draws.pick((1, 2, 3), (0.25, 0.5, 0.25)))
        written.append(_denial(denied[:count], draws))
        denied = denied[count:]
    return draws.shuffled(written)


def _denial(findings: list[str], draws: Draws) -> str:
    names = [draws.pick(sentences.DENIED[finding]) for finding in findings]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return draws.pick(sentences.DENIALS).replace("{list}", listed)


def _impression(
    told: list[list[Condition]], absent: list[str], said: dict[str, float], draws: Draws
) -> str:
    diseases = [group for group in told if group[0].finding != "Support Devices"]
    if not diseases:
        if told and draws.chance(0.5):
            return "Lines and tubes as described. " + draws.pick(sentences.NORMAL_IMPRESSIONS)
        return draws.pick(sentences.NORMAL_IMPRESSIONS)
    lines = []
    for group in diseases[:4]:
        unsure = draws.chance(UNSURE[group[0].severity])
        said[group[0].finding] = -1.0 if unsure else 1.0
        lines.append(_noun(group, draws).fill("Possible {bare}." if unsure else "{Np}."))
    if "Pneumothorax" in absent and draws.chance(0.25):
        lines.append("No pneumothorax.")
        said["Pneumothorax"] = 0.0
    if len(lines) > 1 and draws.chance(0.4):
        return " ".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
    return " ".join(lines)
