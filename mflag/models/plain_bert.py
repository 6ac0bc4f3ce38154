"""Weights of BERT and of what was built on it, in transformers' plain ``BertModel``."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mflag.errors import InputError
from mflag.models.text_folder import CONVERTED, weights_files, weights_sha256
from mflag.runtime.tensor_file import write_tensors

# CXR-BERT's remote code adds heads; its trunk is a plain BERT.
MODEL_TYPES = ("bert", "cxr-bert")
_DROPPED = ("cls.", "cls_projection_head.", "pooler.", "bert.pooler.")
# The names of TensorFlow, which early checkpoints kept.
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# Of another class or code, or for another version: BertConfig must not see them.
_NOT_SETTINGS = ("auto_map", "model_type", "architectures", "torch_dtype", "dtype")
_NAMED = 3
# How files of torch.save began before they were zip archives: a pickled number.
_OLD_FORMAT = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def is_plain_bert(settings: dict[str, Any]) -> bool:
    """Whether a ``config.json`` describes a BERT; the oldest have no ``model_type``."""
    described = {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"}
    return settings.get("model_type", "bert") in MODEL_TYPES and described <= settings.keys()


def load_plain_bert(folder: Path, settings: dict[str, Any], cache: Path | None = None) -> Any:
    """Load a ``BertModel`` without pooling layer, without code from the folder.

    Args:
        folder: ``config.json`` and weights, of a BertModel or of any model around one.
        settings: of ``config.json``.
        cache: where a .bin file's safetensors form is kept when ``folder`` cannot be written.

    Raises:
        InputError: a setting is unusable; tensors are missing, unexpected or of another shape; a
            .bin file is damaged or holds more than tensors.
    """
    if settings.get("is_decoder"):
        raise InputError(f"{folder} is a decoder; give an encoder")
    model = _build(folder, settings)
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    model.load_state_dict(
        read_trunk(folder, cache, lambda tensors: _check_fit(folder, wanted, tensors))
    )
    return model


def _build(folder: Path, settings: dict[str, Any]) -> Any:
    import transformers  # seconds: only for who embeds with a language model

    kept = {key: value for key, value in settings.items() if key not in _NOT_SETTINGS}
    try:
        return transformers.BertModel(transformers.BertConfig(**kept), add_pooling_layer=False)
    except Exception as error:  # whatever a value of the wrong type or size leads to in there
        raise InputError(
            f"{folder}/config.json cannot be loaded: it describes no BERT "
            f"({' '.join(str(error).split())[:200]}); fetch the model again"
        ) from error


def _check_fit(folder: Path, wanted: dict[str, torch.Size], tensors: dict[str, Tensor]) -> None:
    complaints = [
        _some("lack", [name for name in wanted if name not in tensors], ""),
        _some("hold", [name for name in tensors if name not in wanted], " that a BERT has not"),
        _some("have", _misshapen(wanted, tensors), " of another shape than config.json says"),
    ]
    if any(complaints):
        raise InputError(
            f"{folder} cannot be loaded as BERT: its weights "
            f"{' and '.join(filter(None, complaints))}; take config.json and weights of one model"
        )


def read_trunk(
    folder: Path, cache: Path | None, check: Callable[[dict[str, Tensor]], None]
) -> dict[str, Tensor]:
    """Return a folder's weights by the names of ``BertModel``, heads and pooler left out.

    A .bin file is read once, with ``weights_only``, and kept as safetensors in the folder, or
    where that cannot be written in ``cache``.

    Args:
        folder: of the weights.
        cache: see ``load_plain_bert``.
        check: raises for tensors of another model; nothing of those is kept.

    Raises:
        InputError: a .bin file is damaged or holds more than tensors.
    """
    files = weights_files(folder)
    if files[0].suffix != ".bin":
        tensors = plain_names({k: v for path in files for k, v in load_file(path).items()})
        check(tensors)
        return tensors
    name = f"pytorch_model.{weights_sha256(folder)[:16]}{CONVERTED}"
    places = [place for place in (folder, cache) if place is not None]
    for place in places:
        if (place / name).is_file():
            tensors = load_file(place / name)
            check(tensors)
            return tensors
    tensors = plain_names({k: v for path in files for k, v in _read_bin(path).items()})
    check(tensors)
    # Names may share memory in a pickle, which safetensors refuses.
    tensors = {name: value.clone() for name, value in tensors.items()}
    for place in places:
        try:
            write_tensors(place / name, tensors, {"format": "pt"})
            break
        except InputError:  # read-only: the next place, and at last none
            continue
    return tensors


def plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of ``BertModel``, heads, pooler and position buffer dropped.

    ``module.`` and ``bert.`` are stripped, TensorFlow's names translated.
    """
    plain = {}
    for name, value in tensors.items():
        name = name.removeprefix("module.")  # of DataParallel
        if name.startswith(_DROPPED) or name.endswith("position_ids"):
            continue
        name = name.removeprefix("bert.")
        for old, new in _OLD_NAMES.items():
            name = name.replace(old, new)
        plain[name] = value
    return plain


def _read_bin(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # damage leads to errors of many kinds
        if isinstance(error, pickle.UnpicklingError) and _is_whole(path):
            raise InputError(
                f"{path} cannot be loaded: it holds more than tensors, which could be code; "
                "give model.safetensors"
            ) from error
        raise InputError(
            f"{path} cannot be loaded: it is cut short, damaged or no file of torch.save "
            f"({path.stat().st_size:,} bytes); fetch the model again"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} cannot be loaded: it is no table of tensors")
    return content


def _is_whole(path: Path) -> bool:
    """Whether a file is one of ``torch.save``; a cut archive lacks its directory."""
    with path.open("rb") as file:
        return file.read(len(_OLD_FORMAT)) == _OLD_FORMAT or zipfile.is_zipfile(path)


def _misshapen(wanted: dict[str, torch.Size], tensors: dict[str, Tensor]) -> list[str]:
    return [
        f"{name} {tuple(tensors[name].shape)} for {tuple(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]


def _some(verb: str, names: list[str], what: str) -> str:
    if not names:
        return ""
    noun = "tensor" if len(names) == 1 else "tensors"
    shown = ", ".join(sorted(names)[:_NAMED]) + ", …" * (len(names) > _NAMED)
    return f"{verb} {len(names)} {noun}{what} ({shown})"
