"""Reports of generated studies, in varied wording, from the conditions alone.

The writer never sees position, build or exposure, so no report can give them away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mflag.data.phantom import phrases
from mflag.data.phantom.draws import Draws
from mflag.data.phantom.patient import FINDINGS, Condition

MENTIONED = 0.94
UNSURE = {"mild": 0.3, "moderate": 0.12, "severe": 0.03}
LUNG_FINDINGS = (
    "pleural_effusion",
    "pneumothorax",
    "consolidation",
    "edema",
    "nodule",
    "atelectasis",
)


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


def write_report(conditions: Sequence[Condition], is_follow_up: bool, draws: Draws) -> str:
    """Return the report of one study.

    Args:
        conditions: what was drawn into the image.
        is_follow_up: whether the patient has an earlier study to compare with.
        draws: the stream of the report.
    """
    groups = [[c for c in conditions if c.finding == finding] for finding in FINDINGS]
    told = [group for group in groups if group and draws.chance(MENTIONED)]
    told = draws.shuffled(told)
    positive = [_statement(group, is_follow_up, draws) for group in told]
    absent = [finding for finding, group in zip(FINDINGS, groups, strict=True) if not group]
    findings = _order(positive, _negatives(absent, draws), draws)
    if draws.chance(0.4):
        findings.insert(0, draws.pick(phrases.OPENINGS))
    for aside in draws.shuffled(phrases.ASIDES)[: draws.pick((0, 1, 2), (0.45, 0.4, 0.15))]:
        findings.append(aside)
    impression = _impression(told, absent, draws)
    return _layout(" ".join(findings), impression, draws)


def _layout(findings: str, impression: str, draws: Draws) -> str:
    first, second = draws.pick(phrases.HEADERS)
    layout = draws.uniform()
    if layout < 0.6:
        return f"{first} {findings} {second} {impression}"
    if layout < 0.75:
        return f"{second} {impression} {first} {findings}"
    if layout < 0.88:
        return f"{findings} {impression}"
    return f"{first} {findings}"


def _order(positive: list[str], negative: list[str], draws: Draws) -> list[str]:
    if draws.chance(0.6):
        return positive + negative
    return draws.shuffled(positive + negative)


def _statement(group: list[Condition], is_follow_up: bool, draws: Draws) -> str:
    """Return the sentence, or for devices the sentences, about one finding."""
    if group[0].finding == "support_device":
        return " ".join(_device(condition, draws) for condition in group)
    noun = _noun(group, draws)
    unsure = draws.chance(UNSURE[group[0].severity])
    sentence = noun.fill(draws.pick(phrases.UNCERTAIN if unsure else phrases.CERTAIN))
    if is_follow_up and not unsure and draws.chance(0.55):
        sentence = f"{sentence[:-1]}, {draws.pick(phrases.CHANGED[_change(group[0])])}."
    return sentence


def _change(condition: Condition) -> str:
    if condition.change is None:
        return "new"
    if abs(condition.change) < 0.08:
        return "same"
    return "more" if condition.change > 0 else "less"


def _noun(group: list[Condition], draws: Draws) -> Noun:
    first = group[0]
    single, both = draws.pick(phrases.NOUNS[first.finding])
    severity = max(group, key=lambda condition: condition.amount).severity
    words = phrases.SEVERITY.get(first.finding, phrases.OTHER_SEVERITY)[severity]
    plural = len(group) > 1 and both is not None
    template = both if len(group) > 1 and both is not None else single
    zone = draws.pick(phrases.ZONE_WORDS.get(first.zone, ("",)))
    severity_word = "" if draws.chance(0.12) and "{sev}ly" not in template else draws.pick(words)
    if not severity_word and "{sev}ly" in template:
        severity_word = words[0]
    bare = template.format(sev=severity_word, side=first.side, zone=zone)
    bare = " ".join(bare.split())
    mass = ("cardiomegaly", "enlargement", "atelectasis", "edema", "haze", "congestion", "fluid")
    uncountable = any(word in bare for word in mass) or bare.endswith("lung consolidation")
    return Noun(bare, plural and "fluid" not in bare and "atelectasis" not in bare, not uncountable)


def _device(condition: Condition, draws: Draws) -> str:
    sentence = draws.pick(phrases.DEVICES[condition.kind])
    side = condition.side
    return sentence.replace("{side}", side).replace("{Side}", side.capitalize())


def _negatives(absent: list[str], draws: Draws) -> list[str]:
    """Return sentences that deny some of the absent findings; the rest stay unsaid."""
    sentences = []
    for finding, chance in (("cardiomegaly", 0.75), ("support_device", 0.12)):
        if finding in absent and draws.chance(chance):
            sentences.append(draws.pick(phrases.NEGATIVE[finding]))
    lungs = [finding for finding in LUNG_FINDINGS if finding in absent]
    if len(lungs) == len(LUNG_FINDINGS) and draws.chance(0.7):
        sentences.append(draws.pick(phrases.CLEAR))
    chances = dict(zip(LUNG_FINDINGS, (0.8, 0.8, 0.65, 0.35, 0.2, 0.15), strict=True))
    denied = draws.shuffled([finding for finding in lungs if draws.chance(chances[finding])])
    while denied:
        count = min(len(denied), draws.pick((1, 2, 3), (0.25, 0.5, 0.25)))
        sentences.append(_denial(denied[:count], draws))
        denied = denied[count:]
    return draws.shuffled(sentences)


def _denial(findings: list[str], draws: Draws) -> str:
    names = [draws.pick(phrases.DENIED[finding]) for finding in findings]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return draws.pick(phrases.DENIALS).replace("{list}", listed)


def _impression(told: list[list[Condition]], absent: list[str], draws: Draws) -> str:
    diseases = [group for group in told if group[0].finding != "support_device"]
    if not diseases:
        if told and draws.chance(0.5):
            return "Lines and tubes as described. " + draws.pick(phrases.NORMAL_IMPRESSIONS)
        return draws.pick(phrases.NORMAL_IMPRESSIONS)
    lines = []
    for group in diseases[:4]:
        unsure = draws.chance(UNSURE[group[0].severity])
        lines.append(_noun(group, draws).fill("Possible {bare}." if unsure else "{Np}."))
    if "pneumothorax" in absent and draws.chance(0.25):
        lines.append("No pneumothorax.")
    if len(lines) > 1 and draws.chance(0.4):
        return " ".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
    return " ".join(lines)
