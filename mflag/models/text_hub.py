"""Published clinical language models: what they are, and how to get them when asked."""

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

from mflag.errors import InputError
from mflag.models.text_folder import model_settings

_SETTINGS_AND_TOKENIZER = (
    "config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json",
)  # fmt: skip


@dataclass(frozen=True)
class PublishedModel:
    """A model of the Hugging Face hub.

    Attributes:
        hub: its name there.
        vocab_size: words of its tokenizer; tells its folder from another model's.
        model_type: of its ``config.json``; None where releases differ.
        lower_case: whether its vocabulary wants lower-cased text, for folders whose tokenizer does
            not say; None leaves that to transformers.
    """

    hub: str
    vocab_size: int
    model_type: str | None = None
    lower_case: bool | None = None


PUBLISHED = {
    "cxr_bert_general": PublishedModel("microsoft/BiomedVLP-CXR-BERT-general", 30522, "bert"),
    "cxr_bert_specialized": PublishedModel(
        "microsoft/BiomedVLP-CXR-BERT-specialized", 30522, "cxr-bert"
    ),
    "bio_clinicalbert": PublishedModel("emilyalsentzer/Bio_ClinicalBERT", 28996, lower_case=False),
}


def published_lower_case(name: str) -> bool | None:
    """``lower_case`` of the model that ``text.name`` names; None for any other name."""
    return PUBLISHED[name].lower_case if name in PUBLISHED else None


def published_folder(name: str, path: Path | None, download: bool, revision: str | None) -> Path:
    """Return the folder of a published model.

    Args:
        name: a key of ``PUBLISHED``.
        path: where the user has it, or None.
        download: fetch it from the hub when ``path`` is None.
        revision: commit, tag or branch of the hub; None is ``main``.

    Raises:
        InputError: neither path nor download, the hub cannot be reached, or the folder holds
            another model.
    """
    model = PUBLISHED[name]
    if path is None and not download:
        raise InputError(
            f"text={name} needs text.path=FOLDER with FOLDER/config.json, FOLDER/vocab.txt, "
            "FOLDER/pytorch_model.bin (or model.safetensors), and tokenizer_config.json where "
            f"there is one, of {model.hub}, revision {revision or 'main'}; or text.download=true "
            "where the Hugging Face hub can be reached"
        )
    folder = path if path is not None else _fetch(model.hub, revision or "main")
    if not (folder / "config.json").is_file():
        raise InputError(
            f"text.path is {str(folder)!r}, which is no model folder; it needs config.json, "
            f"vocab.txt and pytorch_model.bin of {model.hub}"
        )
    _check_identity(name, model, folder)
    return folder


def _check_identity(name: str, model: PublishedModel, folder: Path) -> None:
    settings = model_settings(folder)
    for key in ("vocab_size", "model_type"):
        wanted, found = getattr(model, key), settings.get(key)
        if wanted is not None and found != wanted:
            raise InputError(
                f"{folder}/config.json has {key} {found!r}, but {model.hub} has {wanted!r}; give "
                f"the folder of that model, or text=folder instead of text={name}"
            )


@functools.cache  # asked when the run is checked and when the texts are embedded
def _fetch(hub: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                hub,
                revision=revision,
                allow_patterns=[*_SETTINGS_AND_TOKENIZER, "model.safetensors"],
            )
        )
        if not (folder / "model.safetensors").is_file():
            snapshot_download(hub, revision=revision, allow_patterns=["pytorch_model.bin"])
    except Exception as error:  # its transport library, which changes, has errors of its own
        raise InputError(
            f"{hub} at revision {revision!r} cannot be fetched "
            f"({' '.join(str(error).split())[:200]}); fetch config.json, vocab.txt, "
            "tokenizer_config.json and pytorch_model.bin elsewhere and give text.path=FOLDER"
        ) from error
    commit = folder.name
    print(f"text: {hub} at commit {commit}; text.revision={commit} pins it", file=sys.stderr)
    return folder
