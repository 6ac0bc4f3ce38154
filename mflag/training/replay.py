"""A whole step as a CUDA graph: recorded once, launched as one."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

Body = Callable[[Sequence[Tensor], bool], Sequence[Tensor]]
Recorded = tuple[Callable[[], object], Sequence[Tensor]]


class Recorder(Protocol):
    """Runs work in a way that a later recording needs, and records it.

    Attributes:
        warm_up_steps: how many steps run before the first recording.
    """

    warm_up_steps: int

    def warm_up(self, work: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
        """Run ``work`` as it is."""
        ...

    def record(self, work: Callable[[], Sequence[Tensor]]) -> Recorded:
        """Record ``work`` without running it: what launches it, and where its results will be."""
        ...


class CudaRecorder:
    """Records on a stream of its own; all graphs share one pool of memory.

    They may: no two run at once, and what outlives a step (weights, statistics, optimizer) was
    allocated outside.
    """

    warm_up_steps = 11  # what torch asks for with DistributedDataParallel

    def __init__(self, device: torch.device) -> None:
        """Open the stream."""
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
        """Run ``work`` on the stream that will record."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            results = work()
        current.wait_stream(self._stream)
        for result in results:
            result.record_stream(current)
        return results

    def record(self, work: Callable[[], Sequence[Tensor]]) -> Recorded:
        """Capture ``work``."""
        graph = torch.cuda.CUDAGraph()
        # A feed's thread may pin memory meanwhile: only this thread is held to the rules.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            results = work()
        return graph.replay, results


class Replay:
    """Runs a step's body for the first calls, then replays recordings of it.

    There are two bodies, with and without a measurement of the losses' balance; each is recorded
    when it comes up after the warm-up, and ran once before.

    Attributes:
        has_recorded: whether the last call made a recording.
    """

    def __init__(self, body: Body, recorder: Recorder) -> None:
        """Keep the body.

        Args:
            body: from tensors on the device and whether to measure, to results on the device;
                everything else it reads stays where it is from call to call.
            recorder: of CUDA graphs.
        """
        self._body, self._recorder = body, recorder
        self._left = recorder.warm_up_steps
        self._inputs: list[Tensor] | None = None
        self._ran: set[bool] = set()
        self._recorded: dict[bool, Recorded] = {}
        self.has_recorded = False

    def __call__(self, tensors: Sequence[Tensor], measures: bool) -> list[Tensor]:
        """Take one step.

        Args:
            tensors: the step's inputs, of the same shapes in every call.
            measures: which body.

        Returns:
            The body's results, safe from the next call.
        """
        inputs = self._fill(tensors)
        self.has_recorded = False
        if measures not in self._recorded:
            if self._left > 0 or measures not in self._ran:
                self._left -= 1
                self._ran.add(measures)
                return list(self._recorder.warm_up(lambda: self._body(inputs, measures)))
            self._recorded[measures] = self._recorder.record(lambda: self._body(inputs, measures))
            self.has_recorded = True
        launch, results = self._recorded[measures]
        launch()
        return [result.clone() for result in results]

    def _fill(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        if self._inputs is None:
            self._inputs = [tensor.clone() for tensor in tensors]
        else:
            for own, tensor in zip(self._inputs, tensors, strict=True):
                own.copy_(tensor, non_blocking=True)
        return self._inputs
