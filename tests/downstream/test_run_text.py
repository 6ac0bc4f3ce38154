import json
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.nn.functional import normalize

from mflag.data.manifest import open_prepared
from mflag.downstream.image_text import load_image_text
from mflag.downstream.run_text import centre_of, open_run_text
from mflag.errors import InputError
from mflag.models.projector import build_projector
from mflag.models.text_encoder import embed_batch, load_text_encoder, tokenize
from mflag.models.text_folder import weights_sha256
from mflag.runtime.tensor_file import write_tensors
from tests.evaluate_program import SPLITS, write_prepared
from tests.models.tiny_bert import write_bert
from tests.run_files import write_run

CPU = torch.device("cpu")


def table_of(space):
    """The run's text vectors; the frozen text encoder has some."""
    assert space.table is not None
    return space.table


def reports(seed):
    random = np.random.default_rng(seed)
    words = ["heart", "lung", "effusion", "clear", "large", "small", "left", "right", "seen", "no"]
    return [" ".join(random.choice(words, 5)) for _ in SPLITS]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("data") / "prepared", text=reports(0))


@pytest.fixture(scope="module", params=["lsa", "lsa centred", "bert", "bert centred"])
def run(request, prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    text: dict[str, object] = {"center": "centred" in request.param}
    if "bert" in request.param:
        text |= {"name": "folder", "path": str(write_bert(folder / "bert")), "max_length": 32}
    return write_run(folder / "run", prepared, **text)


def test_reports_get_the_vectors_that_the_run_gave_them(run, prepared):
    space, data = load_image_text(run), open_prepared(prepared)
    rows = data.rows("test")
    texts = [data.column("text")[int(row)].as_py() for row in rows]
    vectors, has_vector = open_run_text(space, data, CPU).embed([*texts, "  "])
    expected = table_of(space).embeddings[table_of(space).rows[torch.from_numpy(rows)]].float()
    assert has_vector.tolist() == [True] * len(texts) + [False]
    torch.testing.assert_close(vectors[:-1], expected, atol=2e-3, rtol=0)


def test_other_data_find_the_run_s_reports_by_its_configuration(run, prepared, tmp_path):
    other = open_prepared(write_prepared(tmp_path / "other", text=reports(1)))
    space = load_image_text(run)
    sentence = ["heart large seen"]
    here = open_run_text(space, open_prepared(prepared), CPU).embed(sentence)[0]
    there = open_run_text(space, other, CPU).embed(sentence)[0]
    torch.testing.assert_close(here, there)


def test_the_centre_follows_from_vectors_and_directions():
    random = np.random.default_rng(0)
    vectors, centre = random.normal(size=(40, 12)), random.normal(size=12)
    gaps = vectors - centre
    unit = (gaps / np.linalg.norm(gaps, axis=1, keepdims=True)).astype(np.float16)
    assert centre_of(vectors, unit.astype(np.float64)) == pytest.approx(centre, abs=2e-3)


@pytest.fixture(scope="module")
def whole_run(prepared, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("whole") / "run", prepared)


@pytest.fixture
def lsa_run(whole_run, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(whole_run.parent, tmp_path / "run")
    return tmp_path / "run" / "encoder.safetensors"


def test_a_sentence_without_a_known_word_has_no_vector(lsa_run, prepared):
    text = open_run_text(load_image_text(lsa_run), open_prepared(prepared), CPU)
    assert text.embed(["xylophone", "heart"])[1].tolist() == [False, True]


def refusal(run, prepared):
    with pytest.raises(InputError) as refused:
        open_run_text(load_image_text(run), open_prepared(prepared), CPU).embed(["heart"])
    return str(refused.value)


@pytest.mark.parametrize(
    "name", ["projector.safetensors", "text_embeddings.safetensors", "config.yaml"]
)
def test_a_missing_file_of_the_run_is_named(name, lsa_run, prepared):
    (lsa_run.parent / name).unlink()
    assert f"{name} is missing" in refusal(lsa_run, prepared)


def test_a_damaged_configuration_is_refused(lsa_run, prepared):
    (lsa_run.parent / "config.yaml").write_text("text: 3")
    assert "config.yaml is damaged" in refusal(lsa_run, prepared)


def test_another_text_encoder_is_refused(lsa_run, prepared):
    config = lsa_run.parent / "config.yaml"
    config.write_text(config.read_text().replace("dim: 256", "dim: 7"))
    assert "most_dim '256', but here it is '7'" in refusal(lsa_run, prepared)


def test_reports_that_are_nowhere_are_refused(lsa_run, tmp_path):
    other = write_prepared(tmp_path / "other", text=reports(1))
    config = lsa_run.parent / "config.yaml"
    lines = config.read_text().splitlines()
    kept = [f"  path: {tmp_path / 'gone'}" if "prepared" in line else line for line in lines]
    config.write_text("\n".join(kept))
    assert "was trained on are not in" in refusal(lsa_run, other)


def test_vectors_of_another_origin_are_refused(lsa_run, prepared):
    """A table that says it is of these reports, but holds other vectors."""
    space = load_image_text(lsa_run)
    table_of(space).embeddings.copy_(table_of(space).embeddings.flip(0))
    with pytest.raises(InputError, match="other vectors than the run's"):
        open_run_text(space, open_prepared(prepared), CPU).embed(["heart"])


@pytest.fixture
def tuned_run(lsa_run, tmp_path):
    """A run whose text encoder trained: another BERT's weights beside the base's."""
    base = write_bert(tmp_path / "base")
    tuned = load_text_encoder(write_bert(tmp_path / "tuned", seed=1), "mean", 32)
    config = lsa_run.parent / "config.yaml"
    settings = OmegaConf.load(config)
    settings.text.update({"name": "folder", "path": str(base), "max_length": 32})
    config.write_text(OmegaConf.to_yaml(settings))
    metadata = {
        "format": "1", "base": "base", "base_sha256": weights_sha256(base),
        "center": json.dumps([0.5] * 32),
    }  # fmt: skip
    file = lsa_run.parent / "text_encoder.safetensors"
    write_tensors(file, tuned.model.state_dict(), metadata)
    return lsa_run, tuned


def test_a_trained_text_encoder_embeds_with_its_own_weights_and_centre(tuned_run, prepared):
    run, tuned = tuned_run
    space = load_image_text(run)
    vectors, has_vector = open_run_text(space, open_prepared(prepared), CPU).embed(
        ["the heart is enlarged", " "]
    )
    expected = embed_batch(tuned, tokenize(tuned, ["the heart is enlarged"])[0])[0] - 0.5
    torch.testing.assert_close(vectors[0], expected)
    assert has_vector.tolist() == [True, False]
    torch.testing.assert_close(space.of_texts(vectors[:1]), normalize(expected[None]))


def test_a_trained_text_encoder_of_another_base_is_refused(tuned_run, prepared, tmp_path):
    run, _ = tuned_run
    shutil.rmtree(tmp_path / "base")
    write_bert(tmp_path / "base", seed=5)
    assert "was trained from other weights of 'base'" in refusal(run, prepared)


def test_a_damaged_trained_text_encoder_is_refused(tuned_run, prepared):
    run, _ = tuned_run
    (run.parent / "text_encoder.safetensors").write_bytes(b"junk")
    assert "is no text encoder of mflag.train" in refusal(run, prepared)


def test_a_projector_of_another_encoder_is_refused(lsa_run):
    space = load_image_text(lsa_run)
    with pytest.raises(InputError, match="takes 512 features, but the encoder gives 2048"):
        space.of_images(np.zeros((1, 2048), np.float32))


def test_the_text_projector_sees_vectors_as_long_as_in_training(lsa_run, prepared):
    space = load_image_text(lsa_run)
    width = table_of(space).embeddings.shape[1]
    projector = build_projector("mlp", width, 8, 5)
    path = lsa_run.parent / "text_projector.safetensors"
    write_tensors(path, projector.state_dict(), {"format": "1", "kind": "mlp"})
    space = load_image_text(lsa_run)
    vectors = table_of(space).embeddings[:3].float()
    expected = normalize(projector.eval()(vectors * width**0.5))
    torch.testing.assert_close(space.of_texts(vectors), expected.detach())
