"""For ONNX runtimes: input ``image`` (N, 3, H, W), output ``features`` (N, embedding_dim)."""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mflag.errors import InputError
from mflag.exporting.proof import normalisation, require_equal_features
from mflag.exporting.state_dict_file import check_suffix, published_after_proof
from mflag.exporting.written import Written
from mflag.models.encoder_file import read_encoder_file
from mflag.models.load import load_encoder
from mflag.runtime.atomic_write import atomic_write

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def export(encoder: Path, out: Path) -> Written:
    """Write an ONNX model, and compare onnxruntime's features with the encoder's.

    The number of images, height and width are free. The encoder's metadata stand in the model's
    ``metadata_props``; BatchNorm is folded into the convolutions.

    Args:
        encoder: an ``encoder.safetensors``.
        out: ``.onnx``.

    Raises:
        InputError: the extra is missing, the encoder cannot be read, or ``out`` cannot be written.
    """
    check_suffix(out, (".onnx",))
    metadata, _ = read_encoder_file(encoder)
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"format=onnx needs {', '.join(missing)}, which is not installed; "
            'pip install "mflag[onnx]"'
        )
    network = load_encoder(encoder)
    with published_after_proof(out) as candidate:
        with atomic_write(candidate) as file:
            file.write(_model_bytes(network, int(metadata["image_size"]), metadata))
        _prove(encoder, candidate)
    mean, std = normalisation(metadata)
    return Written(
        "checked by onnx; onnxruntime's features equal to the encoder's (largest difference "
        "below 1e-5)",
        [
            "import onnxruntime",
            f"session = onnxruntime.InferenceSession({str(out)!r})",
            f"# image: (N, 3, H, W) float32, (x - {mean}) / {std} of 0..1",
            'features = session.run(["features"], {"image": image})[0]',
        ],
    )


def _model_bytes(network: nn.Module, image_size: int, metadata: dict[str, str]) -> bytes:
    """The serialised model, without traces of the machine that made it."""
    import onnx

    images = torch.zeros(2, 3, image_size, image_size)
    with _quiet():
        program = torch.onnx.export(
            network, (images,), dynamo=True, verbose=False, input_names=["image"],
            output_names=["features"], dynamic_shapes=({0: "N", 2: "H", 3: "W"},),
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    _strip(model)
    model.graph.name = metadata["arch"]
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _strip(model: Any) -> None:
    """Remove documentation, stack traces and the shapes of inner values."""
    graph = model.graph
    del graph.value_info[:]
    for part in _parts(model):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _parts(model: Any) -> Iterable[Any]:
    graph = model.graph
    return (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and warnings about its own insides off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _prove(source: Path, written: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])

    def embed(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(["features"], {"image": images.numpy()})[0])

    require_equal_features(source, embed)
    require_equal_features(source, lambda images: torch.cat([embed(one[None]) for one in images]))
