"""The model of GPU times computes what its text says, from the committed resources."""

import json

import pytest

from bench.predict import RESULTS, rows_of
from bench.prediction import GPUS, Gpu, Occupancy, Step, predict_us

TOY = Gpu(80, 100, 1e12, 1e13)  # 1 byte a picosecond, 10 FLOP a picosecond


def test_bytes_decide_where_they_take_longer():
    steps = [Step("copy", 9e6), Step("copy", 9e6)]
    assert predict_us(steps, TOY, {}) == pytest.approx(5 + 2 + 2 * 10)


def test_products_of_cublas_take_four_fifths_of_the_peak():
    assert predict_us([Step("product", 0, 8e7)], TOY, {}) == pytest.approx(5 + 10)


def test_own_products_wait_for_the_busiest_multiprocessor():
    step = Step("product", 0, 6e7, "own", "kernel", 150)  # two on half of them: 150 of 200 places
    found = predict_us([step], TOY, {"kernel": Occupancy(2, 256)})
    assert found == pytest.approx(5 + 10 / 0.75)


def test_few_resident_warps_slow_own_products_down():
    step = Step("product", 0, 6e7, "own", "kernel", 100)
    assert predict_us([step], TOY, {"kernel": Occupancy(4, 128)}) == pytest.approx(5 + 20)


def test_more_launches_than_steps_are_paid_for():
    assert predict_us([Step("passes", 9e6)], TOY, {}, launches=11) == pytest.approx(5 + 20 + 10)


def test_a_kernel_that_was_not_compiled_is_refused():
    with pytest.raises(ValueError, match="its kernel new is not in compiled.json"):
        predict_us([Step("product", 0, 1, "own", "new", 1)], TOY, {})


@pytest.mark.parametrize("name", GPUS)
def test_the_committed_predictions_are_those_of_the_committed_resources(name):
    compiled = json.loads((RESULTS / "compiled.json").read_text())
    committed = json.loads((RESULTS / "predictions.json").read_text())
    rows = [row for row in committed["rows"] if row["gpu"] == name]
    assert json.loads(json.dumps(rows_of(name, GPUS[name], compiled))) == rows
