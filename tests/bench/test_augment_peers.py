"""The peers of the augmentation do its work: crop, turn, jitter, normalise, three channels."""

import numpy as np
import pytest
import torch
from PIL import Image

from bench.peers import augment as peers
from bench.peers.augment import torchvision_batched, torchvision_pil


def grey_images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(100, 156, (3, 1, 64, 64), dtype=torch.uint8, generator=generator)


def of_pil(images, size):
    return torchvision_pil([Image.fromarray(np.asarray(image[0])) for image in images], size)


@pytest.mark.parametrize("peer", [of_pil, torchvision_batched])
def test_a_peer_returns_what_our_op_returns(peer):
    torch.manual_seed(0)
    result = peer(grey_images(), 48)
    assert result.shape == (3, 3, 48, 48) and result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result[:, 0], result[:, 2]) and -1 <= result.min() < result.max() <= 1


@pytest.mark.parametrize("peer", [of_pil, torchvision_batched])
def test_a_peer_draws_anew(peer):
    torch.manual_seed(0)
    assert not torch.equal(peer(grey_images(), 48), peer(grey_images(), 48))


def test_workers_of_the_peer_leave_the_threads_of_all_others():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        peers._workers.cache_clear()
        pool = peers._workers()
        assert pool._max_workers == 2
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
        peers._workers.cache_clear()
