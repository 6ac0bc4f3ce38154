"""Places of a machine, which a page does not name."""

import re

# /home/me/x or C:\x: a folder of some machine.
_PLACE = re.compile(r"(?<![\w.])(?:/[^\s/'\",;:()]+){2,}/?|\b[A-Za-z]:\\\S+")


def without_places(value: object) -> str:
    """Return a setting or a remark, absolute paths shortened to their last part."""
    return _PLACE.sub(lambda m: re.split(r"[/\\]", m[0].rstrip("/\\"))[-1], str(value))
