"""How fast a run is between two logging points, compiling left out."""

import time


class Pace:
    """Counts images and waiting; the time of a step that compiled stands apart."""

    def __init__(self, batch_size: int) -> None:
        """Start the clock.

        Args:
            batch_size: images a step.
        """
        self._batch_size = batch_size
        self._restart()

    def wait(self, seconds: float) -> None:
        """Note time spent waiting for a batch."""
        self._wait_s += seconds

    def step(self) -> None:
        """Note a step."""
        self._steps += 1

    def compiled(self, seconds: float) -> None:
        """Note a step of so many seconds that compiled or recorded: not part of the speed."""
        self._compile_s += seconds

    def figures(self) -> dict[str, float | None]:
        """Return the figures since the last call, and start again.

        Returns:
            ``images_per_second`` (None when every step compiled), ``data_wait`` (share of the
            time) and, after a step that compiled, ``compile_seconds`` (those steps as a whole).
        """
        seconds = max(time.perf_counter() - self._since - self._compile_s, 1e-9)
        speed = self._steps * self._batch_size / seconds if self._steps else None
        figures = {"images_per_second": speed, "data_wait": min(self._wait_s / seconds, 1.0)}
        if self._compile_s:
            figures["compile_seconds"] = self._compile_s
        self._restart()
        return figures

    def _restart(self) -> None:
        self._since = time.perf_counter()
        self._wait_s = self._compile_s = 0.0
        self._steps = 0
