"""Why a study is left out."""

# Four times the largest detector's 20 million; also what a 32-bit image may take in memory: 0.3 GB.
MAX_PIXELS = 80_000_000
IMAGE_READABLE = "image readable"


class Rejected(Exception):
    """The study cannot be used; the message is the reason in ``rejected.csv``.

    Args:
        reason: the message.
        step: the funnel's step that it fails, one of ``Source.load_steps``.
    """

    def __init__(self, reason: str, step: str = IMAGE_READABLE) -> None:
        """Keep the reason as the message."""
        super().__init__(reason)
        self.step = step


class LeftOut(Rejected):
    """The study is whole, but a rule of the user's leaves it out: no sign of broken data."""
