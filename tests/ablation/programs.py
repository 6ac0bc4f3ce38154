"""Stand-ins for the programs that an ablation starts: the files of the contract, no computing."""

import json
import shlex
import sys
import zlib
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mflag import cli
from mflag.ablate import main
from mflag.config.ablate import AblateConfig
from mflag.config.compose import compose
from mflag.config.evaluate import EvaluateConfig
from mflag.config.train import TrainConfig
from mflag.training.run_folder import plain


class Programs:
    """Takes the place of ``run_program``; ``breaks`` says which words end with which exit code."""

    def __init__(self):
        self.calls = []
        self.breaks = {}
        self.before = lambda program, words: None

    def run(self, program, words, log, request, lock=None):
        self.calls.append((program, words))
        self.before(program, words)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"$ python -m {program} {shlex.join(words)}\n")
        for word, code in self.breaks.items():
            if word in words:
                log.write_text(log.read_text() + f"error: {word} cannot be\n")
                return code
        {"mflag.train": train, "mflag.evaluate": evaluate}[program](words)
        return 0

    def names(self):
        """(program, variant/seed) of each call."""
        return [(program.removeprefix("mflag."), run_of(words)) for program, words in self.calls]


def run_of(words):
    (word,) = [w for w in words if w.startswith(("output_dir=", "encoder="))]
    path = Path(word.partition("=")[2])
    folder = path.parent if path.suffix else path
    return f"{folder.parent.name}/{folder.name}"


def train(words):
    free = ("output_dir=", "seed=", "resume=", "overwrite=")
    config = compose("train", TrainConfig, [w for w in words if not w.startswith(free)])
    given = dict(word.split("=", 1) for word in words)
    config.seed, config.output_dir = int(given["seed"]), given["output_dir"]
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plain(config))))
    for name in ("encoder.safetensors", "model_card.md"):
        (folder / name).write_text("trained")


def evaluate(words):
    """Scores that depend on variant and seed alone."""
    free = ("out=", "encoder=", "overwrite=")
    config = compose("evaluate", EvaluateConfig, [w for w in words if not w.startswith(free)])
    out = Path(next(word for word in words if word.startswith("out=")).partition("=")[2])
    out.mkdir(parents=True, exist_ok=True)
    score = zlib.crc32(run_of(words).encode()) / 2**32
    fields = {"encoder": "encoder", "protocol": "linear", "n_train": 10}
    summary = [
        fields
        | {"fraction": fraction, "metric": metric, "value": score + fraction, "draws": 2}
        | {"ci_low": score + fraction - 0.2, "ci_high": score + fraction + 0.1, "sd": 0.01}
        for fraction in config.fraction
        for metric in ("macro_auc", "auc/disc")
    ]
    results = {
        "format": 1,
        "rows": [{"task": config.task.name}],
        "summary": summary,
        "encoders": [{"name": "encoder", "origin": "file encoder.safetensors"}],
        "geometry": {"encoder": {"rankme": 12.5}},
        "data": {"dataset": "csv", "studies": {"train": 40}, "test_patients": 10},
        "command": shlex.join(["python", "-m", "mflag.evaluate", *words]),
    }
    (out / "results.json").write_text(json.dumps(results))


def call_ablate(*words):
    """Run the program in this process, its command line read once; give its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mflag.ablate", *map(str, words)])
        patch.setattr(cli, "_compose_and_call", _call)
        try:
            cli.run(main, "ablate", AblateConfig)
        except SystemExit as left:
            return left.code
    return 0


def _call(main, name, schema):
    """What Hydra's own start does, a third of a second faster."""
    main(compose(name, schema, sys.argv[1:]))
