"""The ladder: its first rung is the published loop, its last one preset=recommended."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.ladder import recommended, rungs
from bench.ladder.own_loop import EagerAlignment, EagerOrthogonality
from bench.ladder.profile import group_of, training_flops
from bench.ladder.recommended import SWITCHES, compose_recommended, switches_on
from bench.ladder.targets import judge
from bench.ladder.text_model import TextModel, write_text_model
from bench.ladder.timing import Timed, paired_ratio, take_turns
from bench.peers.published_loop import PublishedData, PublishedFeed, cosine_both_ways
from mflag.losses import AlignmentLoss, OrthogonalityLoss

# What says where things are and how large the benchmark is; all else decides what a step computes.
PLACED = {
    "data": {"path"},
    "text": {"path", "pooling"},
    "train": {"batch_size", "image_size", "epochs"},
    "compute": {"device"},
}
TEXTS = [
    "No pleural effusion.",
    "The heart is enlarged; small left effusion, unchanged since then.",
]


@pytest.fixture
def configurations(monkeypatch):
    """The configuration and keys of every rung that is ours, by name."""
    found = {}
    monkeypatch.setattr(rungs, "OwnLoop", lambda config, **keys: (config, keys))
    monkeypatch.setattr(rungs, "PublishedLoop", lambda settings, *_: (None, {}))
    nothing: Any = None
    here = Path("here")
    setting = rungs.Setting("cpu", 8, 224, here, here, nothing, nothing, out=here)
    for rung in rungs.rungs("cpu")[0]:
        found[rung.name] = rung.build(setting)
    return found


def test_the_last_rung_computes_what_recommended_does(configurations):
    config, keys = list(configurations.values())[-1]
    assert keys == {}
    wanted = compose_recommended()
    for name, group in vars(wanted).items():
        if name == "output_dir" or not hasattr(group, "__dict__"):
            continue
        left = {key: value for key, value in vars(group).items() if key not in PLACED.get(name, ())}
        assert left.items() <= vars(getattr(config, name)).items(), name


def test_the_first_rung_is_the_published_loop_and_the_peers_come_right_after():
    steps = rungs.rungs("cpu")[0]
    assert steps[0].name == rungs.PUBLISHED and not steps[0].is_peer
    assert [rung.is_peer for rung in steps] == [False, True, True, *[False] * (len(steps) - 3)]
    assert len({rung.name for rung in steps}) == len(steps)


def test_each_rung_of_ours_changes_one_thing(configurations):
    ours = [found for found in configurations.values() if found[0] is not None]
    assert [len(keys) for _, keys in ours[:3]] == [2, 1, 0]
    for (before, _), (after, _) in itertools.pairwise(ours[2:]):
        changed = [
            (name, key)
            for name, group in vars(after).items()
            if hasattr(group, "__dict__")
            for key, value in vars(group).items()
            if getattr(getattr(before, name), key) != value
        ]
        assert len(changed) == 1


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_switch_is_a_rung_or_named_as_skipped(device):
    found, skipped = switches_on(device)
    named = {switch.name for switch in found} | {line["what"] for line in skipped}
    assert named == {switch.name for switch in SWITCHES}


def test_a_switch_that_recommended_has_on_is_a_rung(monkeypatch):
    switch = recommended.Switch("NHWC", "compute.channels_last", "false", "layout")
    monkeypatch.setattr(recommended, "SWITCHES", (switch,))
    assert switches_on("cpu") == ([switch], [])
    assert [rung.name for rung in rungs.rungs("cpu")[0]][-2:] == ["fused optimizer", "NHWC"]


def test_the_published_losses_are_those_of_the_authors_preset():
    generator = torch.Generator().manual_seed(0)
    z, text = torch.randn(2, 16, 24, generator=generator)
    ours = OrthogonalityLoss.preset("authors")(z)
    torch.testing.assert_close(EagerOrthogonality()(z), ours, rtol=1e-5, atol=0)
    index = torch.arange(16)
    aligned = AlignmentLoss()(z, text, index=index)
    torch.testing.assert_close(EagerAlignment()(z, text, index=index), aligned)
    torch.testing.assert_close(cosine_both_ways(z, text), AlignmentLoss(2.0)(z, text))


def test_padding_to_the_longest_report_gives_the_same_vectors(tmp_path):
    folder = write_text_model(tmp_path / "text", TEXTS, layers=1)
    model = TextModel(folder, TEXTS, "cpu")
    padded, short = (model.embed(TEXTS, padding) for padding in ("max_length", "longest"))
    torch.testing.assert_close(padded, short, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.table, short)


def test_the_published_feed_yields_augmented_images_and_their_reports():
    images = torch.randint(256, (4, 256, 256), dtype=torch.uint8).numpy()
    feed = PublishedFeed(PublishedData(images, list("abcd"), 224), 2, 0, pins=False)
    epoch = [feed.next() for _ in range(2)]
    assert sorted(text for batch in epoch for text in batch["raw_text"]) == list("abcd")
    for batch in epoch:
        assert batch["image"].shape == (2, 3, 224, 224) and batch["image"].dtype == torch.float32
        assert batch["raw_text"] == ["abcd"[row] for row in batch["row"]]


class CountedLoop:
    """Counts its steps."""

    def __init__(self):
        self.steps = 0

    def step(self):
        self.steps += 1
        return 0.0

    def drain(self):
        raise AssertionError("nothing is dropped on a CPU")

    def close(self):
        pass


def test_every_loop_has_as_many_turns():
    loops = {name: CountedLoop() for name in "ab"}
    timed = {name: Timed() for name in loops}
    take_turns(loops, timed, "cpu", turns=3, turn_s=1e-5)
    for name, loop in loops.items():
        assert len(timed[name].step_ms) == 3 and timed[name].steps == loop.steps >= 3


def test_a_ratio_is_taken_turn_by_turn():
    slow, fast = Timed(step_ms=[10.0, 40.0, 90.0]), Timed(step_ms=[5.0, 10.0, 9.0])
    assert paired_ratio(slow, fast) == 4.0


@pytest.mark.parametrize(
    "operator, group",
    [
        ("aten::convolution_backward", "convolution"),
        ("aten::mkldnn_convolution", "convolution"),
        ("aten::native_batch_norm", "BatchNorm"),
        ("aten::addmm", "matrix products"),
        ("aten::_fused_adamw_", "optimizer"),
        ("mflag::orthogonality", "losses"),
        ("mflag::augment_images", "augmentation"),
        ("aten::copy_", "copies and casts"),
        ("aten::threshold_backward", "ReLU, add, pooling"),
        ("aten::sort", "everything else"),
    ],
)
def test_an_operator_counts_in_its_group(operator, group):
    assert group_of(operator) == group


def test_a_training_step_of_resnet50_has_its_known_flops():
    assert training_flops("resnet50", 224) == pytest.approx(24.3e9, rel=0.01)


def content(published, tuned, overhead, **device):
    ratios = {rungs.PUBLISHED: published, rungs.TUNED: tuned}
    return {
        "device": {"type": "cpu", "bf16": True} | device,
        "rungs": [{"faster_than": ratios, "images_per_second": 4100.0}],
        "synthetic": {"overhead": overhead},
    }


@pytest.mark.parametrize(
    "found, verdicts",
    [
        (content(9, 4.1, 0.01), ["PASS", "PASS", "PASS"]),
        (content(7.9, 3.9, 0.04), ["FAIL", "FAIL", "FAIL"]),
        (content(7.9, 4.0, -0.01, bf16=False), ["PASS", "PASS", "PASS"]),
        (content(9, 4, 0, type="cuda", gpu="NVIDIA H100 80GB HBM3"), ["PASS", "PASS"]),
        (content(9, 4, 0, type="cuda", gpu="NVIDIA H200"), ["FAIL", "PASS"]),
        (content(9, 4, 0, type="cuda", gpu="NVIDIA L4"), ["PASS"]),
    ],
)
def test_a_run_is_judged_by_the_targets_of_its_machine(found, verdicts):
    assert [one["verdict"] for one in judge(found)] == verdicts


def test_what_was_not_measured_does_not_pass():
    found = {"device": {"type": "cpu", "bf16": True}, "rungs": []}
    assert {one["verdict"] for one in judge(found)} == {"not measured"}


def test_the_published_model_has_no_head():
    from bench.peers.published_loop import _Model

    with torch.device("meta"):
        model = _Model()
    assert isinstance(model.encoder.fc, nn.Identity)
    assert sum(p.numel() for p in model.encoder.parameters()) == 23_508_032
