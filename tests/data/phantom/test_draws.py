import numpy as np
import pytest

from mflag.data.phantom.draws import Draws, Purpose


def test_first_uniforms_are_the_published_philox_stream():
    # counter and key as in the class; the bits come from numpy's documented Philox 4x64-10
    bits = np.random.Philox(counter=[0, 0, 0, int(Purpose.REPORT)], key=[5, 7]).random_raw(3)
    expected = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    assert np.array_equal(Draws(5, 7, Purpose.REPORT).uniforms(3), expected)


@pytest.mark.parametrize("other", [(1, 2, Purpose.PATIENT), (2, 1, Purpose.REPORT)])
def test_seed_number_and_purpose_each_start_another_stream(other):
    assert Draws(1, 2, Purpose.REPORT).uniform() != Draws(*other).uniform()


def test_normal_has_the_mean_and_deviation_asked_for():
    draws = Draws(0, 0, Purpose.PATIENT)
    values = [draws.normal(3.0, 2.0) for _ in range(4000)]
    assert (np.mean(values), np.std(values)) == pytest.approx((3.0, 2.0), abs=0.1)


def test_noise_has_mean_0_and_deviation_1():
    noise = Draws(0, 0, Purpose.ANATOMY).noise(256, 256)
    assert (noise.mean(), noise.std()) == pytest.approx((0.0, 1.0), abs=0.02)


def test_pick_follows_its_weights():
    draws = Draws(0, 0, Purpose.PATIENT)
    picks = [draws.pick("ab", (0.25, 0.75)) for _ in range(4000)]
    assert picks.count("b") / 4000 == pytest.approx(0.75, abs=0.03)
