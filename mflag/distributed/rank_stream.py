"""What ranks other than the first print: every line says whose it is."""

from typing import TextIO


class RankStream:
    """A text stream that puts ``rank K: `` before every line."""

    def __init__(self, stream: TextIO, rank: int) -> None:
        """Write to ``stream``."""
        self._stream, self._prefix = stream, f"rank {rank}: "
        self._rest = ""

    def write(self, text: str) -> int:
        """Write the whole lines of ``text`` and keep the rest; returns its length."""
        *lines, self._rest = (self._rest + text).split("\n")
        self._stream.write("".join(f"{self._prefix}{line}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        """Write what is kept, as a line."""
        if self._rest:
            self.write("\n")
        self._stream.flush()

    def isatty(self) -> bool:
        """Never: no bars and colours of several processes at once."""
        return False

    def fileno(self) -> int:
        """The stream's own."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's own."""
        return self._stream.encoding
