"""Why a study is left out."""

# Four times the largest detector's 20 million; also what a 32-bit image may take in memory: 0.3 GB.
MAX_PIXELS = 80_000_000


class Rejected(Exception):
    """The study cannot be used; the message is the reason in ``rejected.csv``."""
