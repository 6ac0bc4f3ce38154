"""``torchrun -m mflag.train``: the run of one process on the joined batch, and how it ends."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mflag.runtime.atomic_write import file_sha256, write_json
from tests.distributed.program import figures, start
from tests.models.tiny_bert import write_bert
from tests.training.conftest import write_prepared

GLOBAL_BATCH = 16


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """48 training studies, every fifth without a text."""
    folder = tmp_path_factory.mktemp("data") / "prepared"
    info = dict(write_prepared(folder, 64).info)
    path = folder / "manifest.parquet"
    table = pd.read_parquet(path)
    table.loc[::5, "text"] = ""
    table.to_parquet(path)
    info["hashes"]["manifest.parquet"] = file_sha256(path)
    write_json(folder / "prepared.json", info)
    return folder


def trained(count, folder, data, *overrides):
    """Train and return the folder."""
    batch = GLOBAL_BATCH // count
    command = (f"data.path={data}", f"output_dir={folder}/run", f"train.batch_size={batch}")
    ended = start(count, folder, *command, *overrides).wait()
    assert all(end.code == 0 for end in ended), ended
    return folder / "run"


def assert_close(ours, expected):
    """Up to float32 rounding; a bias that began at 0 is made of it."""
    tensors = load_file(ours)
    for key, value in load_file(expected).items():
        if value.ndim > 1:
            assert torch.dist(tensors[key], value) <= 1e-3 * value.norm(), key


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    return trained(1, tmp_path_factory.mktemp("alone"), data)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_run_with_sync_batchnorm_is_that_of_one_process(count, data, alone, tmp_path):
    run = trained(count, tmp_path, data, "compute.sync_batchnorm=true")
    for ours, expected in zip(figures(run), figures(alone), strict=True):
        assert ours["step"] == expected["step"]
        for name in ("loss", "loss_alignment", "loss_orthogonality", "effective_rank", "lr"):
            assert ours[name] == pytest.approx(expected[name], rel=2e-4), (ours["step"], name)
        assert ours["orthogonality_weight"] == pytest.approx(
            expected["orthogonality_weight"], rel=1e-3
        )
    for name in ("encoder.safetensors", "projector.safetensors"):
        assert_close(run / name, alone / name)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bytes(data, tmp_path):
    undisturbed = trained(2, tmp_path / "undisturbed", data)
    command = (f"data.path={data}", f"output_dir={tmp_path}/run", "train.batch_size=8")
    ended = start(2, tmp_path / "stopped", *command, faults={1: (1, "gets SIGTERM")}).wait()
    assert [end.code for end in ended] == [0, 0]
    assert "SIGTERM: saved after step" in ended[0].stderr and "SIGTERM" not in ended[1].stderr
    assert not (tmp_path / "run" / "encoder.safetensors").exists()

    (refused,) = start(1, tmp_path / "refused", *command, "resume=auto").wait()
    assert refused.code == 2 and "the batch of all 2 processes was 16" in refused.stderr

    ended = start(2, tmp_path / "resumed", *command, "resume=auto").wait()
    assert [end.code for end in ended] == [0, 0], ended
    for name in ("encoder.safetensors", "projector.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (undisturbed / name).read_bytes()
    assert [line["step"] for line in figures(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_a_run_goes_on_with_another_number_of_processes(data, alone, tmp_path):
    command = (f"data.path={data}", f"output_dir={tmp_path}/run", "compute.sync_batchnorm=true")
    ended = start(
        2, tmp_path / "two", *command, "train.batch_size=8", faults={0: (2, "gets SIGTERM")}
    ).wait()
    assert [end.code for end in ended] == [0, 0], ended
    (end,) = start(1, tmp_path / "one", *command, "train.batch_size=16", "resume=auto").wait()
    assert end.code == 0, end.stderr
    assert_close(tmp_path / "run" / "encoder.safetensors", alone / "encoder.safetensors")


@pytest.mark.parametrize(
    ("rank", "kind", "message"),
    [
        (1, "raises", "rank 1 failed: ValueError: a fault was planted"),
        (1, "is killed", "rank 1 is gone"),
        (0, "is killed", "rank 0 is gone"),
        pytest.param(
            1,
            "gets no images",
            "rank 1 has had no images for step 4 for 3 s, while others wait",
            marks=pytest.mark.slow,
        ),
        pytest.param(0, "hangs", "no rank has finished step 2 for 3 s", marks=pytest.mark.slow),
    ],
)
def test_one_failing_rank_ends_all_with_one_message(data, tmp_path, rank, kind, message):
    ended = start(
        2, tmp_path, f"data.path={data}", f"output_dir={tmp_path}/run", "train.batch_size=8",
        "compute.timeout_s=3", faults={rank: (1, kind)},
    ).wait()  # fmt: skip
    codes = {4, -9} if kind == "is killed" else {4}
    assert {end.code for end in ended} == codes, ended
    said = "".join(end.stderr for end in ended)
    assert message in said, ended
    assert said.count("error: ") == 1, said
    assert ("Traceback" in said) == (kind == "raises")


def test_ranks_that_differ_are_refused_and_leave_nothing(data, tmp_path):
    ended = start(
        2, tmp_path, f"data.path={data}", f"output_dir={tmp_path}/run", "train.batch_size=8",
        faults={"overrides of 1": ("optim.lr=0.5",)},
    ).wait()  # fmt: skip
    assert [end.code for end in ended] == [2, 2]
    assert "the ranks differ: optim.lr is " in ended[0].stderr and not ended[1].stderr
    assert not (tmp_path / "run").exists()


def test_bad_input_of_one_rank_ends_all_with_one_line(data, tmp_path):
    ended = start(
        2, tmp_path, f"data.path={data}", f"output_dir={tmp_path}/run", "train.batch_size=8",
        faults={"overrides of 1": (f"data.path={tmp_path}/nowhere",)},
    ).wait()  # fmt: skip
    assert [end.code for end in ended] == [2, 2]
    assert ended[0].stderr.startswith("error: rank 1: ") and not ended[1].stderr
    assert not (tmp_path / "run").exists()


def test_generated_studies_are_made_by_rank_0_alone(tmp_path):
    ended = start(
        2, tmp_path, f"output_dir={tmp_path}/run", "data.size=16", "train.batch_size=4",
        "train.epochs=1",
    ).wait()  # fmt: skip
    assert [end.code for end in ended] == [0, 0], ended
    assert "generating 16 studies" in ended[0].stderr and not ended[1].stderr


@pytest.mark.slow
def test_text_layers_train_on_ranks_as_in_one_process(data, tmp_path):
    bert = write_bert(tmp_path / "tiny", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    given = (
        f"text.path={bert}", "text.unfreeze_last=1", "text.max_length=32",
        "compute.sync_batchnorm=true",
    )  # fmt: skip
    alone, ours = (trained(count, tmp_path / str(count), data, *given) for count in (1, 2))
    for one, several in zip(figures(alone), figures(ours), strict=True):
        assert several["loss_alignment"] == pytest.approx(one["loss_alignment"], rel=2e-4)
    for name in ("encoder.safetensors", "projector.safetensors", "text_encoder.safetensors"):
        assert_close(ours / name, alone / name)
    before, after = (
        load_file(bert / "model.safetensors"),
        load_file(ours / "text_encoder.safetensors"),
    )
    assert any(not torch.equal(after[key], before[key]) for key in after)
