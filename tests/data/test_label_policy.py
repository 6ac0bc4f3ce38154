import numpy as np
import pytest

from mflag.data.label_policy import MIXED, POLICIES, apply_label_policy
from mflag.errors import InputError

_ = np.nan
NAMES = [
    "No Finding", "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion",
    "Pneumonia", "Support Devices",
]  # fmt: skip
ROWS = np.array(
    [
        [_, 1, 0, -1, -1, -1, -1, _],
        [1, _, _, _, -1, 0, _, 1],
        [0, -1, -1, _, 1, _, 1, -1],
    ]
)
EXPECTED = {
    "zeros": [[0, 1, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0, 1, 0]],
    "ones": [[0, 1, 0, 1, 1, 1, 1, 0], [1, 0, 0, 0, 1, 0, 0, 1], [0, 1, 1, 0, 1, 0, 1, 1]],
    "ignore": [[0, 1, 0, _, _, _, _, 0], [1, 0, 0, 0, _, 0, 0, 1], [0, _, _, 0, 1, 0, 1, _]],
    "mixed": [[_, 1, 0, 0, 1, 1, _, _], [_, 0, 0, 0, 1, 0, _, _], [_, 1, 0, 0, 1, 0, _, _]],
    "nan": [[_, 1, 0, _, _, _, _, _], [1, 0, 0, 0, 0, 0, 0, 1], [0, _, _, _, 1, _, 1, _]],
}


@pytest.mark.parametrize("policy", POLICIES)
def test_policy_gives_the_published_labels(policy):
    found = apply_label_policy(ROWS, NAMES, policy)
    np.testing.assert_array_equal(found, EXPECTED[policy])
    assert found.dtype == np.float32


@pytest.mark.parametrize("policy", POLICIES)
def test_policy_leaves_its_input_alone(policy):
    rows = ROWS.copy()
    apply_label_policy(rows, NAMES, policy)
    np.testing.assert_array_equal(rows, ROWS)


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"mixed"}))
def test_certain_labels_are_the_same_under_every_policy(policy):
    labels = np.random.default_rng(0).integers(0, 2, (20, 3)).astype(float)
    np.testing.assert_array_equal(apply_label_policy(labels, list("abc"), policy), labels)


def test_no_finding_takes_devices_too_in_mimic():
    rows = np.array([[1.0, _, 1.0]])
    names = ["No Finding", "Edema", "Support Devices"]
    assert apply_label_policy(rows, names, "nan", "mimic_cxr").tolist() == [[1, 0, 0]]
    assert apply_label_policy(rows, names, "nan", "chexpert").tolist() == [[1, 0, 1]]


def test_mixed_masks_what_is_no_competition_class():
    found = apply_label_policy(ROWS, NAMES, "mixed")
    kept = [name for name, masked in zip(NAMES, np.isnan(found).all(0), strict=True) if not masked]
    assert kept == list(MIXED)


def test_unknown_policy_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="'U-zeros'; choose one of zeros, ones, ignore, mixed"):
        apply_label_policy(ROWS, NAMES, "U-zeros")


def test_mixed_without_any_competition_class_is_refused():
    with pytest.raises(InputError, match="the labels are Effusion; choose another"):
        apply_label_policy(ROWS[:, :1], ["Effusion"], "mixed")
