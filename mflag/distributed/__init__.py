"""Several processes as one: who is who, what they agree on, how they end together."""

from mflag.distributed.gradients import average_gradients, wrap_module
from mflag.distributed.ranks import Ranks, read_ranks
from mflag.distributed.reductions import gather_over_ranks, max_over_ranks, sum_over_ranks
from mflag.distributed.session import Session
from mflag.distributed.stop import StopAgreement
from mflag.distributed.sync_batchnorm import synchronise_batchnorm

__all__ = [
    "Ranks",
    "Session",
    "StopAgreement",
    "average_gradients",
    "gather_over_ranks",
    "max_over_ranks",
    "read_ranks",
    "sum_over_ranks",
    "synchronise_batchnorm",
    "wrap_module",
]
