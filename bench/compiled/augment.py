"""The augmentation: the sums and the result, by Triton and by CUDA."""

from collections.abc import Mapping
from pathlib import Path

from mflag.kernels.augment import MAX_SLOTS, sum_kernel, write_kernel
from mflag.kernels.launch_table import augment_row

from bench.compiled.case import CudaCase, CudaLaunch, Launch, TritonCase

POINTERS = dict.fromkeys(("theta", "brightness", "contrast", "partial"), "*fp32")
NUMBERS = ("H", "W", "image_stride", "row_stride", "slots", "span", "tiles")
TYPES = POINTERS | dict.fromkeys(NUMBERS, "i32") | {"images": "*u8"}
TYPES |= {"scale": "fp32", "offset": "fp32"}
INSTANCE = (
    "template __global__ void mflag::augment::write_kernel<{0}, {1}>(const uint8_t*, const float*, "
    "const float*, const float*, const double*, {0}*, float, float, mflag::augment::Shape);"
)
INSTANCES = "\n".join(
    INSTANCE.format(dtype, channels) for dtype in ("float", "__nv_bfloat16") for channels in (1, 3)
)


def _triton(kernel: object, dtype: str, channels: int, size: int, quick: bool) -> TritonCase:
    def launch(capability: int) -> Launch:
        row = augment_row(capability)
        constants = {"SIZE": size, "TILE": row.tile, "CHANNELS": channels, "SLOTS": MAX_SLOTS}
        return Launch(constants, row.warps)

    return TritonCase(
        op="augment",
        name=f"{size}-{channels}",
        dtype=dtype,
        kernel=kernel,
        types=TYPES | {"out": f"*{dtype}"},
        launch=launch,
        aligned=("H", "W", "image_stride", "row_stride"),
        quick=quick,
    )


def _cuda_launches(capability: int) -> Mapping[str, CudaLaunch]:
    return {"sum_kernel": CudaLaunch(256), "write_kernel": CudaLaunch(256)}


CASES: list[TritonCase | CudaCase] = [
    _triton(sum_kernel, "fp32", 3, 224, quick=True),
    *(
        _triton(write_kernel, dtype, channels, size, quick=(channels, size) == (3, 224))
        for dtype in ("fp32", "bf16")
        for channels in (1, 3)
        for size in (224, 65)
    ),
    CudaCase(
        op="augment",
        name="all",
        dtype="all",
        source=Path("csrc/cuda/augment_kernels.cuh"),
        launches=_cuda_launches,
        instantiate=INSTANCES,
        quick=True,
    ),
]
