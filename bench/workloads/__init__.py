"""The work that is timed, one file an op."""

from collections.abc import Callable, Iterator

from bench.workloads import alignment, augment, barlow_twins, lars, orthogonality, vicreg
from bench.workloads.workload import Call, Workload

OPS: dict[str, Callable[[str], Iterator[Workload]]] = {
    "orthogonality": orthogonality.workloads,
    "barlow_twins": barlow_twins.workloads,
    "vicreg": vicreg.workloads,
    "alignment": alignment.workloads,
    "lars": lars.workloads,
    "augment": augment.workloads,
}
__all__ = ["OPS", "Call", "Workload"]
