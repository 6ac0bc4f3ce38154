from dataclasses import replace

import numpy as np
import pytest
import torch

from mflag.config.evaluate import TaskConfig
from mflag.config.feed import AugmentConfig
from mflag.downstream.classification.finetune import finetune
from mflag.downstream.encoders import IMAGENET_MEAN, IMAGENET_STD, NamedEncoder
from mflag.downstream.training import Compute
from mflag.models import build_encoder

TRAIN = np.arange(40)
CPU = Compute(torch.device("cpu"), torch.float32, 16)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    module = build_encoder("resnet18").requires_grad_(False).eval()
    return NamedEncoder("mine", module, "resnet18", 32, [0.5] * 3, [0.5] * 3, "file x")


@pytest.fixture
def tune(make_prepared, encoder):
    """Fine-tune for a few steps on 32 px; labels by keyword replace the disc's."""

    def run(labels=None, rows=TRAIN, seed=0, on=encoder, compute=CPU, **options):
        prepared = make_prepared()
        values = prepared.values("label/") if labels is None else labels(prepared)
        config = TaskConfig(**{"epochs": 2, "batch_size": 8, "lr": 1e-3} | options)
        return finetune(prepared, values, rows, on, config, compute, seed)

    return run


def test_visible_finding_is_learnt(tune, make_prepared):
    found = tune(epochs=3)
    disc = make_prepared().values("label/")[60:, 0]
    assert found.scores[disc == 1].min() > found.scores[disc == 0].max()
    assert max(found.valid_auc) == found.valid_auc[found.best_epoch - 1]


def test_equal_arguments_give_equal_scores(tune):
    np.testing.assert_array_equal(tune(epochs=1).scores, tune(epochs=1).scores)


def test_seed_changes_the_result(tune):
    assert not np.array_equal(tune(epochs=1).scores, tune(epochs=1, seed=1).scores)


def test_the_given_encoder_stays_as_it_was(tune, encoder):
    before = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    tune(epochs=1)
    assert all(torch.equal(before[n], v) for n, v in encoder.module.state_dict().items())
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())


def test_masked_cells_do_not_train(tune):
    def masked_by(value):
        def labels(prepared):
            values = prepared.values("label/")
            second = np.where(np.arange(len(values)) % 3 == 0, np.nan, values[:, 0])
            return np.stack([values[:, 0], second, np.full(len(values), value)], 1)

        return labels

    unknown, absent = tune(masked_by(np.nan), epochs=1), tune(masked_by(0), epochs=1)
    assert unknown.trained.tolist() == absent.trained.tolist() == [True, True, False]
    np.testing.assert_array_equal(unknown.scores[:, :2], absent.scores[:, :2])


def test_training_stops_when_valid_gets_no_better(tune):
    found = tune(epochs=20, patience=1)
    assert found.epochs == found.best_epoch + 1 < 20
    assert len(found.valid_auc) == found.epochs


def test_valid_without_positives_keeps_the_last_epoch(tune):
    def labels(prepared):
        values = prepared.values("label/").copy()
        values[40:60] = 0
        return values

    found = tune(labels, epochs=2)
    assert (found.valid_auc, found.epochs, found.best_epoch) == ([], 2, 2)


def test_divergence_is_told_and_leaves_no_wrong_scores(tune):
    found = tune(lr=1e30)
    assert found.diverged
    assert found.best_epoch == 0 or np.isfinite(found.scores).all()


def test_two_images_are_enough(tune, make_prepared):
    disc = make_prepared().values("label/")[:40, 0]
    rows = np.array([np.flatnonzero(disc == 0)[0], np.flatnonzero(disc == 1)[0]])
    assert tune(rows=np.sort(rows), epochs=1).trained.all()


def test_bf16_keeps_scores_in_float32(tune):
    found = tune(epochs=1, compute=replace(CPU, dtype=torch.bfloat16))
    assert found.scores.dtype == np.float32
    assert len(np.unique(found.scores)) == 20


def test_other_sizes_than_the_encoders_own_are_taken(tune):
    assert np.isfinite(tune(epochs=1, image_size=48).scores).all()


def test_training_and_test_images_are_normalised_alike(tune, encoder):
    seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}

    class Watched(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, images):
            seen[self.training].append(images.mean((0, 2, 3)))
            return self.inner(images)

    still = AugmentConfig(scale_min=1.0, rotation_degrees=0.0, brightness=0.0, contrast=0.0)
    watched = replace(
        encoder, module=Watched(encoder.module), mean=IMAGENET_MEAN, std=IMAGENET_STD
    )  # fmt: skip
    tune(on=watched, epochs=1, augment=still)
    training, test = (torch.stack(seen[mode]).mean(0) for mode in (True, False))
    torch.testing.assert_close(training, test, atol=0.08, rtol=0)
    assert (training[1:] - training[:1]).abs().min() > 0.05  # three channels, three normalisations
