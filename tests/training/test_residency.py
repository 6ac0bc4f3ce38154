import pytest
import torch

from mflag.config.feed import FeedConfig
from mflag.data.feeds.residency import Held, decide_residency

GB = 10**9
GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
MIMIC = Held(213_384, 14 * GB, 14 * GB)


@pytest.mark.parametrize(
    ("resident", "device", "free", "holds"),
    [
        ("auto", GPU, 79 * GB, True),
        ("auto", GPU, 30 * GB, True),  # the images and the reserve, to the byte
        ("auto", GPU, 30 * GB - 1, False),
        ("true", GPU, 14 * GB, True),  # no reserve
        ("True", GPU, 14 * GB, True),
        ("true", GPU, 14 * GB - 1, False),
        ("false", GPU, 79 * GB, False),
        ("auto", CPU, 900 * GB, False),  # the page cache holds them
        ("true", CPU, 14 * GB, True),
        ("true", CPU, 13 * GB, False),
        ("true", CPU, None, True),  # a system that does not say
    ],
)
def test_images_are_held_where_free_memory_allows(resident, device, free, holds):
    config = FeedConfig(resident=resident, reserve_gb=16)
    assert decide_residency(config, device, MIMIC, free).holds is holds


def test_the_remark_gives_the_figures():
    config = FeedConfig(reserve_gb=16)
    assert decide_residency(config, GPU, MIMIC, 70 * GB).remark == (
        "213,384 images (14 GB) are held on cuda:0; 70 GB free, 16 GB kept for the model "
        "(feed.reserve_gb)"
    )
    assert decide_residency(config, GPU, MIMIC, 20 * GB).remark == (
        "213,384 images (14 GB) do not fit on cuda:0 and are read ahead; 20 GB free, 16 GB kept "
        "for the model (feed.reserve_gb)"
    )


@pytest.mark.parametrize(("free", "says"), [(14 * GB, False), (13 * GB, True), (None, False)])
def test_a_page_cache_too_small_for_the_file_is_said(free, says):
    level = Held(213_384, 4 * GB, 14 * GB)  # what is handed out is smaller than what is read
    remark = decide_residency(FeedConfig(), CPU, level, free).remark
    assert ("read from disk in every epoch" in remark) is says


def test_nothing_is_said_where_nothing_is_decided():
    assert decide_residency(FeedConfig(resident="false"), GPU, MIMIC, GB).remark == ""
