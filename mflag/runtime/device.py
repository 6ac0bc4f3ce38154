"""Device, number format and compiler that a configuration asks for."""

from dataclasses import dataclass

import torch

from mflag.config.compute import ComputeConfig
from mflag.distributed.ranks import ALONE, Ranks
from mflag.errors import InputError
from mflag.runtime.compile_cache import keep_compiled_code


@dataclass(frozen=True)
class Compute:
    """What ``ComputeConfig`` means on this machine.

    Attributes:
        device: where tensors live.
        dtype: of activations; weights stay float32.
        compiles: whether the model goes through torch.compile.
        memory_format: of images and weights.
        captures: whether the whole step becomes a CUDA graph.
        compiler: backend of torch.compile.
    """

    device: torch.device
    dtype: torch.dtype
    compiles: bool
    memory_format: torch.memory_format
    captures: bool = False
    compiler: str = "inductor"


def choose_compute(config: ComputeConfig, ranks: Ranks = ALONE) -> Compute:
    """Resolve every ``auto``.

    Args:
        config: what is asked for.
        ranks: with several processes each takes the GPU of its ``local_rank``.

    Raises:
        InputError: a value that is unknown, or a device that is not here.
    """
    device = _device(config.device)
    if not ranks.is_alone:
        device = _device_of_rank(device, ranks)
    compiling = _choice("compute.compile", config.compile, ("auto", "true", "false"))
    precision = _choice("compute.precision", config.precision, ("auto", "fp32", "bf16"))
    if config.threads is not None:
        if config.threads < 1:
            raise InputError(f"compute.threads is {config.threads}; give 1 or more")
        torch.set_num_threads(config.threads)
    if precision == "fp32":
        torch.backends.cudnn.allow_tf32 = False  # torch's default rounds fp32 convolutions to TF32
    if config.cuda_graph and not ranks.is_alone:
        raise InputError(
            f"compute.cuda_graph is true for {ranks.world_size} processes, which is not tried yet; "
            "set compute.cuda_graph=false"
        )
    if config.cuda_graph and device.type != "cuda":
        raise InputError(
            f"compute.cuda_graph is true, but the device is {device.type} and CUDA graphs need a "
            "GPU; set compute.cuda_graph=false, or compute.device=cuda on a machine that has one"
        )
    compiles = compiling == "true" or (compiling == "auto" and device.type == "cuda")
    if compiles:
        keep_compiled_code(config.compile_cache)
    bf16 = precision == "bf16" or (precision == "auto" and has_fast_bf16(device))
    return Compute(
        device=device,
        dtype=torch.bfloat16 if bf16 else torch.float32,
        compiles=compiles,
        memory_format=torch.channels_last if config.channels_last else torch.contiguous_format,
        captures=config.cuda_graph,
    )


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 products are faster than fp32 ones here."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    features: dict[str, object] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # newer than torch 2.11
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"compute.device is {name!r}; give auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"compute.device is {name!r}; give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"compute.device is {name!r}, but this machine has {torch.cuda.device_count()} CUDA "
            "devices; give compute.device=cpu"
        )
    return device


def _device_of_rank(device: torch.device, ranks: Ranks) -> torch.device:
    if device.type != "cuda":
        return device
    if device.index is not None:
        raise InputError(
            f"compute.device is '{device}' for {ranks.world_size} processes; give cuda, and each "
            "process takes a GPU of its own"
        )
    if ranks.local_world_size > torch.cuda.device_count():
        raise InputError(
            f"torchrun started {ranks.local_world_size} processes on this machine, which has "
            f"{torch.cuda.device_count()} GPUs; give --nproc-per-node={torch.cuda.device_count()}"
        )
    return torch.device("cuda", ranks.local_rank)


def _choice(key: str, value: str, choices: tuple[str, ...]) -> str:
    if value.lower() not in choices:
        raise InputError(f"{key} is {value!r}; choose one of {', '.join(choices)}")
    return value.lower()
