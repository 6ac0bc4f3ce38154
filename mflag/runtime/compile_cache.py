"""Where torch.compile keeps its code, so that the next run does not compile again."""

import os
from pathlib import Path

from mflag.runtime.atomic_write import check_writable

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def keep_compiled_code(folder: str | None) -> Path:
    """Choose the folder of Inductor's cache for this process.

    Torch's own choice is the machine's temporary folder, which a restart empties.

    Args:
        folder: wins over the environment; None takes ``TORCHINDUCTOR_CACHE_DIR`` as it is, and
            without it ``mflag/compiled`` in the user's cache folder.

    Raises:
        InputError: the folder cannot be written.
    """
    path = Path(folder or os.environ.get(VARIABLE) or _user_cache() / "mflag" / "compiled")
    check_writable(path)
    os.environ[VARIABLE] = str(path)
    return path


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
