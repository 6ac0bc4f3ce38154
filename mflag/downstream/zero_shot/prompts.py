"""The sentences that stand for labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mflag.errors import InputError

DEFAULT = Path(__file__).with_name("prompts.yaml")
SIDES = ("positive", "negative")


@dataclass(frozen=True)
class Prompts:
    """Sentences of one label.

    Attributes:
        positive: the finding is there; at least one.
        negative: it is not; may be empty.
    """

    positive: list[str]
    negative: list[str]


def read_prompts(path: str | None) -> dict[str, Prompts]:
    """Return the sentences by label.

    Args:
        path: a YAML file, ``LABEL: {positive: [...], negative: [...]}``; None takes the defaults.

    Raises:
        InputError: the file is missing, no such mapping, or a label has no positive sentence.
    """
    file = DEFAULT if path is None else Path(path)
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except OSError as error:
        raise InputError(f"task.prompts {file} cannot be read: {error.strerror}") from error
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"task.prompts {file} is no YAML mapping ({reason})") from error
    if not isinstance(found, dict) or not found:
        raise InputError(f"task.prompts {file} holds no label; see {DEFAULT.name} for its form")
    return {str(label): _prompts(file, str(label), value) for label, value in found.items()}


def _prompts(file: Path, label: str, value: Any) -> Prompts:
    wanted = "give {positive: [SENTENCE, ...], negative: [SENTENCE, ...]}"
    if not isinstance(value, dict) or not set(value) <= set(SIDES):
        raise InputError(f"{file}: label {label!r} is {value!r}; {wanted}")
    lists = [value.get(side) or [] for side in SIDES]
    for sentences in lists:
        if not isinstance(sentences, list) or not all(
            isinstance(s, str) and s.strip() for s in sentences
        ):
            raise InputError(f"{file}: label {label!r} has {sentences!r}; {wanted}")
    if not lists[0]:
        raise InputError(f"{file}: label {label!r} has no positive sentence; {wanted}")
    return Prompts(*lists)
