import pytest
import torch

from mflag.config.compute import ComputeConfig
from mflag.errors import InputError
from mflag.runtime.device import choose_compute


def test_auto_without_gpu_is_the_cpu_and_does_not_compile(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    compute = choose_compute(ComputeConfig())
    assert compute.device.type == "cpu" and not compute.compiles


def test_forced_values_are_taken():
    compute = choose_compute(
        ComputeConfig(device="cpu", compile="True", precision="bf16", channels_last=False)
    )
    assert compute.compiles and compute.dtype == torch.bfloat16
    assert compute.memory_format == torch.contiguous_format


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"device": "tpu9"}, "compute.device is 'tpu9'"),
        ({"device": "meta"}, "give auto, cpu, cuda"),
        ({"device": "cuda:99"}, "give compute.device=cpu"),
        ({"compile": "maybe"}, "auto, true, false"),
        ({"precision": "fp8"}, "auto, fp32, bf16"),
        ({"threads": 0}, "compute.threads is 0"),
        ({"device": "cpu", "cuda_graph": True}, "CUDA graphs need a GPU; set compute.cuda_graph"),
    ],
)
def test_wrong_values_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        choose_compute(ComputeConfig(**wrong))
