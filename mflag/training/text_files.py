"""What a run leaves and says of its projections and of text layers that trained."""

from pathlib import Path

from torch import nn

from mflag.models.encoder_file import in_float32
from mflag.models.grey_stem import on_three_channels
from mflag.runtime.tensor_file import write_tensors
from mflag.training.run import Run


def save_text_side(folder: Path, run: Run) -> None:
    """Write ``projector.safetensors``, and of what trained on the text side, its weights.

    ``text_encoder.safetensors`` has the names of transformers' ``BertModel``: beside the
    ``config.json`` and tokenizer of its base it is a model folder's ``model.safetensors``.
    """
    model = run.config.model
    if run.projector is not None:
        _write(folder / "projector.safetensors", run.projector, {"kind": model.projector})
    if run.loss.text_projector is not None:
        kind = {"kind": model.text_projector}
        _write(folder / "text_projector.safetensors", run.loss.text_projector, kind)
    if run.trained_text is not None:
        text = run.trained_text
        _write(folder / "text_encoder.safetensors", text.model, text.metadata())


def describe_text(run: Run) -> str:
    """Which text encoder, for the model card."""
    if run.trained_text is not None:
        return run.trained_text.describe()
    return "none" if run.text is None else run.text.metadata["model"]


def describe_parameters(run: Run) -> str:
    """Parameters of encoder, projections and text, each for itself."""
    # The file's, whatever the stem trained on.
    written = on_three_channels(run.encoder.state_dict())
    names = [name for name, _ in run.encoder.named_parameters()]
    parts = [f"encoder {sum(written[name].numel() for name in names):,}"]
    if run.projector is not None:
        parts.append(f"projector {_count(run.projector)}")
    if run.loss.text_projector is not None:
        parts.append(f"text projector {_count(run.loss.text_projector)}")
    if run.trained_text is not None:
        parts.append(f"text: {run.trained_text.describe_parameters()}")
    else:
        parts.append("text: none" if run.text is None else "text: frozen")
    return "; ".join(parts)


def _count(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()):,}"


def _write(path: Path, module: nn.Module, metadata: dict[str, str]) -> None:
    write_tensors(path, in_float32(module.state_dict()), {"format": "1"} | metadata)
