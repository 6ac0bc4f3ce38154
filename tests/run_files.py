"""A finished training run without training: encoder, projector, text vectors, log, checkpoints."""

import dataclasses
import json

import numpy as np
import torch
from omegaconf import OmegaConf

from mflag.config.train import TrainConfig
from mflag.data.manifest import open_prepared
from mflag.data.text_table import build_text_table, save_text_table
from mflag.downstream.encoders import load_encoders
from mflag.downstream.features import embed
from mflag.models import build_encoder
from mflag.models.grey_stem import to_one_channel
from mflag.models.projector import build_projector
from mflag.runtime.checkpoint import save_checkpoint
from mflag.runtime.tensor_file import write_tensors
from tests.evaluate_program import write_encoder


def write_run(folder, prepared_path, **text):
    """Fill a run's folder; its projector is fitted so that each image finds its own report.

    Args:
        folder: made here.
        prepared_path: the data it was trained on.
        text: of the text configuration.
    """
    folder.mkdir(parents=True)
    file, prepared = write_encoder(folder), open_prepared(prepared_path)
    config = TrainConfig()
    config.data.path, config.model.arch, config.model.projector = (
        str(prepared_path), "resnet18", "linear",
    )  # fmt: skip
    for key, value in text.items():
        setattr(config.text, key, value)
    config.train.image_size = 32
    table = build_text_table(prepared, config.text, progress=False)
    save_text_table(folder / "text_embeddings.safetensors", table)
    encoder = load_encoders({"encoder": str(file)})[0]
    features = embed(
        prepared.images, np.arange(len(prepared)), encoder, torch.device("cpu"), 64
    ).astype(np.float64)
    known = table.rows.numpy() >= 0
    wanted = table.embeddings.double().numpy()[table.rows.numpy()[known]]
    inputs = np.column_stack([features[known], np.ones(known.sum())])
    weights = np.linalg.lstsq(inputs, wanted, rcond=None)[0]
    projector = build_projector("linear", features.shape[1], 1, wanted.shape[1])
    tensors = {
        "weight": torch.from_numpy(weights[:-1].T.copy()).float(),
        "bias": torch.from_numpy(weights[-1].copy()).float(),
    }
    projector.load_state_dict(tensors)
    write_tensors(folder / "projector.safetensors", tensors, {"format": "1", "kind": "linear"})
    settings = dataclasses.asdict(config)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(settings)))
    write_log(folder)
    for step in (5, 10):
        torch.manual_seed(step)
        state = {"encoder": to_one_channel(build_encoder("resnet18")).state_dict()}
        save_checkpoint(folder / "checkpoints", step, {"config": settings, "state": state}, keep=2)
    return file


def write_log(folder, steps=10):
    """A metrics.jsonl of ``steps`` lines."""
    lines = [
        {
            "step": step, "loss": 2 / step, "effective_rank": 1.0 + step, "lr": 0.1,
            "orthogonality_share": None, "top_singular_share": 0.5,
        }
        for step in range(1, steps + 1)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
