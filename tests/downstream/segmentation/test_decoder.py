import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from mflag.config.evaluate import TaskConfig
from mflag.downstream.segmentation.decoder import Material, _Decoder, train_decoder
from mflag.downstream.segmentation.dice import score
from mflag.downstream.segmentation.masks import read_masks
from mflag.downstream.segmentation.unet import FrozenUnet
from mflag.errors import InputError
from tests.downstream.segmentation.conftest import CPU

TRAIN, VALID, TEST = np.arange(40), np.arange(40, 60), np.arange(60, 80)


@pytest.fixture
def decode(make_lesions, encoder):
    """Train for a few steps on 32 px."""

    def run(rows=TRAIN, seed=0, on=encoder, compute=CPU, valid=VALID, pictured=TEST[:2], **options):
        prepared = make_lesions()
        material = Material(prepared, read_masks(prepared, None), valid, TEST, pictured)
        config = TaskConfig(**{"epochs": 2, "batch_size": 8, "lr": 1e-3} | options)
        return train_decoder(material, rows, on, config, compute, seed)

    return run


@pytest.mark.parametrize("moves", [False, True], ids=["frozen", "update"])
def test_no_bit_of_the_encoder_changes_but_statistics_on_request(make_lesions, encoder, moves):
    prepared = make_lesions()
    material = Material(prepared, read_masks(prepared, None), VALID, TEST, TEST[:0])
    batchnorm = "update" if moves else "frozen"
    config = TaskConfig(epochs=1, batch_size=8, lr=1e-3, batchnorm=batchnorm)
    decoder = _Decoder(material, TRAIN, encoder, config, CPU, 0)
    inside = decoder.network.unet.encoder
    before = {name: value.clone() for name, value in inside.state_dict().items()}
    given = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    head = {n: v.clone() for n, v in decoder.network.unet.decoder.state_dict().items()}
    decoder.run()
    changed = {n for n, value in inside.state_dict().items() if not torch.equal(value, before[n])}
    assert bool(changed) == moves
    assert all("running_" in name or "num_batches" in name for name in changed)
    after = encoder.module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in given.items())
    assert before.keys() == given.keys()
    after = decoder.network.unet.decoder.state_dict()
    assert all(not torch.equal(after[n], v) for n, v in head.items() if n.endswith("conv.weight"))


def test_encoder_inside_the_unet_computes_what_it_computed_alone(encoder):
    network = FrozenUnet(encoder, CPU, 0).train()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = network.unet.encoder(x)[-1].mean((2, 3))
        torch.testing.assert_close(features, encoder.module(x))


def test_visible_lesion_is_learnt(decode):
    found = decode(epochs=3)
    assert score(found.counts, "dice_positive") > 0.7
    assert score(found.counts, "dice_all") > 0.7
    assert max(found.course.valid) == found.course.valid[found.course.best_epoch - 1]
    assert found.pictured.shape == (2, 32, 32)


def test_equal_arguments_give_equal_counts_and_another_seed_others(decode):
    one, same, other = decode(epochs=1), decode(epochs=1), decode(epochs=1, seed=1)
    for name in ("both", "predicted", "true"):
        np.testing.assert_array_equal(getattr(one.counts, name), getattr(same.counts, name))
    assert one.course == same.course
    assert not np.array_equal(one.counts.predicted, other.counts.predicted)


@pytest.mark.slow
def test_size_of_the_evaluation_batch_changes_no_score(decode):
    one, other = decode(epochs=1), decode(epochs=1, compute=replace(CPU, batch_size=7))
    assert score(one.counts, "dice_all") == pytest.approx(score(other.counts, "dice_all"), abs=2e-3)
    assert len(other.counts.true) == len(TEST)


def test_one_labelled_image_without_lesion_trains(decode, make_lesions):
    empty = np.flatnonzero(make_lesions().manifest["label/disc"][:40] == 0)[:1]
    assert decode(rows=empty, epochs=1).course.best_epoch == 1


def test_maps_of_valid_are_kept_without_a_change_of_scores(decode, monkeypatch):
    kept = decode().course
    monkeypatch.setattr("mflag.downstream.segmentation.decoder.KEPT_BYTES", 0)
    assert decode().course == kept


def test_without_a_lesion_on_valid_the_last_epoch_is_kept(decode, make_lesions):
    labels = make_lesions().manifest["label/disc"].to_numpy()
    course = decode(valid=VALID[labels[VALID] == 0]).course
    assert (course.valid, course.best_epoch) == ([], 2)


def test_rate_that_diverges_is_told(decode):
    assert decode(lr=1e30, epochs=3).course.diverged


@pytest.mark.slow
def test_bf16_and_the_other_loss_learn_too(decode):
    found = decode(epochs=4, compute=replace(CPU, dtype=torch.bfloat16), loss="cross_entropy_dice")
    assert score(found.counts, "dice_positive") > 0.7


def test_missing_library_is_named(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(InputError, match=r'pip install "mflag\[segmentation\]"'):
        FrozenUnet(encoder, CPU, 0)


def test_architecture_without_a_unet_is_refused(encoder):
    with pytest.raises(InputError, match="is a resnet7, of which segmentation_models_pytorch has"):
        FrozenUnet(replace(encoder, arch="resnet7"), CPU, 0)


def test_weights_that_do_not_fit_are_refused(encoder):
    with pytest.raises(InputError, match="does not fit the model"):
        FrozenUnet(replace(encoder, arch="resnet34"), CPU, 0)
