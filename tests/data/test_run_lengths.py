import numpy as np
import pytest

from mflag.data.run_lengths import RunLengthError, decode_mask, encode_mask, parse_runs


def test_offsets_count_from_the_run_before_down_the_columns():
    mask = decode_mask("1 2 3 1", 4, 3)  # columns of 4: rows 1 and 2 of the first, 2 of the second
    assert mask.tolist() == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
        [False, False, False],
    ]


@pytest.mark.parametrize("text", ["-1", " -1", "-1 "])
def test_minus_one_is_no_mask_with_and_without_blank(text):
    assert not decode_mask(text, 5, 7).any()


@pytest.mark.parametrize("fraction", [0, 0.02, 0.5, 1])
def test_encoded_masks_decode_to_themselves(fraction):
    mask = np.random.default_rng(0).random((33, 20)) < fraction
    assert np.array_equal(decode_mask(encode_mask(mask), 33, 20), mask)


def test_run_may_end_with_the_last_pixel_but_not_after_it():
    assert decode_mask("10 2", 4, 3)[2:, 2].all()
    with pytest.raises(RunLengthError, match=r"pixel 13 of 12 \(4 x 3\)"):
        decode_mask("10 3", 4, 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2 3", "3 numbers are no pairs"),
        ("", "0 numbers"),
        ("1 x", "'x' is no offset"),
        ("1 2.5", "'2.5'"),
        ("-4 2", "'-4'"),
        ("4 -2", "'-2'"),
        ("-1 -1", "'-1'"),
        ("1 0", "length 0"),
        ("1 " + "9" * 30, "more than 9 digits"),
    ],
)
def test_malformed_mask_is_refused_with_its_reason(text, reason):
    with pytest.raises(RunLengthError, match=reason):
        parse_runs(text)
