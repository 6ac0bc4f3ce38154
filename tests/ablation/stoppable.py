"""A program that says it is there, then waits for a signal and leaves with its number."""

import signal
import sys
from pathlib import Path

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda received, frame: sys.exit(received))
Path(sys.argv[1]).touch()
signal.pause()
