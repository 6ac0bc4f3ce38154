"""The scaling model: hand-computed parts, limits, and what others published for eight GPUs."""

import json
from dataclasses import replace

import pytest
import torch

from bench.scaling_model import (
    GPUS,
    LATENT,
    PUBLISHED,
    RESULTS,
    all_gather_s,
    all_reduce_s,
    gradient_bytes,
    predict,
    product_flops,
    row,
)
from mflag.models.encoder import build_encoder
from mflag.models.projector import build_projector

H100 = GPUS["H100"]
INSTANT = replace(H100, hop_s=0.0, network_hop_s=0.0)


def test_the_gradients_are_those_of_encoder_and_projector():
    with torch.device("meta"):
        modules = build_encoder("resnet50", "random"), build_projector("mlp", 2048, 2048, 768)
    assert gradient_bytes() == 4 * sum(p.numel() for m in modules for p in m.parameters())


def test_one_gpu_has_nothing_to_exchange():
    step = predict(H100, 1, 4000)
    assert step.total == step.compute == 128 / 4000
    assert all_reduce_s(H100, 1, 1e8) == all_gather_s(H100, 1, 1e6) == 0


def test_an_all_reduce_inside_a_node_is_the_ring():
    assert all_reduce_s(INSTANT, 8, 1e8) == pytest.approx(2 * 7 / 8 * 1e8 / 460e9)


def test_between_nodes_each_card_carries_an_eighth():
    inside, both = all_reduce_s(INSTANT, 8, 1e8), all_reduce_s(INSTANT, 64, 1e8)
    assert both - inside == pytest.approx(2 * 7 / 8 * 1e8 / 8 / INSTANT.network)


@pytest.mark.parametrize("gpus", [2, 8, 16, 64, 512])
def test_more_gpus_are_faster_and_never_beyond_their_number(gpus):
    fewer, more = (128 * n / predict(H100, n, 4000).total for n in (gpus // 2, gpus))
    assert fewer < more < gpus * 4000


@pytest.mark.parametrize("key, value", [("bus", 20e9), ("network", 1e9), ("hop_s", 1e-3)])
def test_slower_links_cost(key, value):
    slow = replace(H100, **{key: value})
    assert predict(slow, 64, 4000).total > predict(H100, 64, 4000).total


def test_the_visible_part_of_the_all_reduce_is_at_least_the_last_bucket():
    step = predict(H100, 8, 4000)
    assert 0 < step.exposed_all_reduce < step.all_reduce
    slow = predict(replace(H100, bus=1e9), 8, 4000)
    assert slow.exposed_all_reduce == pytest.approx(slow.all_reduce - 2 / 3 * slow.compute)


def test_products_are_of_own_rows_until_there_are_as_many_rows_as_features():
    assert product_flops(8, 128) == 8 * product_flops(1, 128)
    assert product_flops(64, 128) == 2 * (64 * 128 + 128) * LATENT**2


@pytest.mark.parametrize("name, source, together", PUBLISHED)
def test_the_model_is_within_a_fifth_of_what_was_published_for_eight(name, source, together):
    assert row(name, 8, source)["images_per_second"] == pytest.approx(together, rel=0.2)


def test_the_cost_is_hours_times_gpus_and_watts():
    one = row("H100", 8, "MLPerf")
    assert one["gpu_hours"] == pytest.approx(8 * one["hours"])
    assert one["kwh"] == pytest.approx(one["hours"] * 10.2)
    assert one["hours"] * 3600 * one["images_per_second"] == pytest.approx(21_338_400)


def test_the_committed_file_is_what_the_model_says():
    committed = json.loads((RESULTS / "scaling.json").read_text())
    for one in committed["rows"]:
        assert row(one["gpu"], one["gpus"], one["rate_source"]) == one
