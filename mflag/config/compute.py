"""Where and how a program computes."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class ComputeConfig:
    """Device, number format, compiler."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU when there is one")
    compile: str = option("auto", "torch.compile: auto (on for CUDA, off for CPU), true or false")
    compile_cache: str | None = option(
        None,
        "folder of compiled code for later runs; null is TORCHINDUCTOR_CACHE_DIR or a user's",
    )
    cuda_graph: bool = option(False, "record the whole step as a CUDA graph; needs a GPU")
    precision: str = option("auto", "auto, fp32 or bf16; auto is bf16 where the chip has it")
    channels_last: bool = option(True, "NHWC memory format of the encoder")
    threads: int | None = option(None, "CPU threads; null leaves torch's choice")
    timeout_s: float = option(600.0, "torchrun: how long to wait for a lost or hung process")
    bucket_mb: float = option(50.0, "torchrun: gradients averaged at a time, MiB")
    static_graph: bool = option(True, "torchrun: every step uses the same weights; let be")
    gradient_as_bucket_view: bool = option(True, "torchrun: gradients live in their buckets")
    sync_batchnorm: bool = option(False, "torchrun: BatchNorm over the batch of all processes")
