"""How several processes begin one run: the same settings, and one reader of the output folder."""

from typing import Any

from mflag.config.train import TrainConfig
from mflag.distributed import Session
from mflag.distributed.differences import code_facts, flat
from mflag.distributed.reductions import share_bytes
from mflag.runtime.checkpoint import state_from_bytes, state_to_bytes
from mflag.training.run_folder import Claim, claim_folder, plain

# May differ between machines: how many cores feed, and where the same data lies.
_OF_A_MACHINE = ("compute.threads", "feed.workers", "feed.prefetch", "data.path", "text.path")


def facts_of_all(config: TrainConfig) -> dict[str, Any]:
    """What must be equal on all processes, by name: settings, code, torch."""
    settings = flat(plain(config))
    for name in _OF_A_MACHINE:
        settings.pop(name, None)
    return {**settings, **code_facts()}


def claim_together(config: TrainConfig, session: Session) -> Claim:
    """Look at the output folder on rank 0, and give every process the checkpoint it found.

    Raises:
        InputError: see ``claim_folder``.
    """
    ranks = session.ranks
    if ranks.is_alone:
        return claim_folder(config)
    claim = session.agree(
        lambda: claim_folder(config, ranks.world_size) if ranks.is_first else Claim()
    )
    content = state_to_bytes({"finished": claim.is_finished, "state": claim.state})
    found = state_from_bytes(share_bytes(content))
    return claim if ranks.is_first else Claim(found["state"], found["finished"])
