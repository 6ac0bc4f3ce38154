import threading

import pytest
import torch

from mflag.ops.float32_products import float32_products

CPU = torch.backends.mkldnn
MATMUL = CPU.matmul  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def put_back():
    yield
    CPU.fp32_precision = "none"  # type: ignore[attr-defined]
    MATMUL.fp32_precision = "none"


def test_an_inherited_setting_stays_inherited():
    MATMUL.fp32_precision = "none"
    CPU.fp32_precision = "bf16"  # type: ignore[attr-defined]
    with float32_products("cpu"):
        assert MATMUL.fp32_precision == "ieee"
    assert MATMUL.fp32_precision == "bf16"
    CPU.fp32_precision = "none"  # type: ignore[attr-defined]
    assert MATMUL.fp32_precision == "none"


def test_an_own_setting_is_put_back():
    MATMUL.fp32_precision = "bf16"
    with float32_products("cpu"):
        assert MATMUL.fp32_precision == "ieee"
    assert MATMUL.fp32_precision == "bf16"


@pytest.mark.parametrize("setting", ["none", "ieee"])
def test_a_setting_that_is_float32_already_is_not_touched(setting):
    MATMUL.fp32_precision = setting
    with float32_products("cpu"):
        assert MATMUL.fp32_precision == setting
    assert MATMUL.fp32_precision == setting


def test_an_error_inside_puts_it_back():
    MATMUL.fp32_precision = "bf16"
    with pytest.raises(RuntimeError), float32_products("cpu"):
        raise RuntimeError
    assert MATMUL.fp32_precision == "bf16"


def test_a_thread_keeps_float32_when_another_one_ends():
    MATMUL.fp32_precision = "bf16"
    entered, ended, seen = threading.Event(), threading.Event(), []

    def second():
        with float32_products("cpu"):
            entered.set()
            ended.wait(5)
            seen.append(MATMUL.fp32_precision)

    thread = threading.Thread(target=second)
    with float32_products("cpu"):
        thread.start()
        entered.wait(0.1)  # without a lock it is inside by now
    ended.set()
    thread.join()
    assert seen == ["ieee"] and MATMUL.fp32_precision == "bf16"
