"""The last layers of a language model in training."""

import pytest
import torch
import transformers

from mflag.errors import InputError
from mflag.models import lower_states, tokens, trained_text
from mflag.models.text_encoder import embed_batch, load_text_encoder, tokenize
from mflag.models.tokens import Tokens
from mflag.models.trained_text import TrainedText, unfreeze_last
from tests.models.tiny_bert import WORDS, write_bert

TEXTS = [" ".join(WORDS[start : start + length]) for start, length in
         ((0, 4), (4, 2), (6, 9), (1, 3), (2, 12), (3, 1))]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def build(folder, monkeypatch):
    monkeypatch.setattr(trained_text, "length_batches", in_parts_of_two)

    def build(last=1, pooling="mean", seed=0, **options):
        encoder = load_text_encoder(folder, pooling, 32)
        return TrainedText(encoder, Tokens(encoder, TEXTS), last, seed=seed, **options)

    return build


def in_parts_of_two(lengths):
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    yield from (order[start : start + 2] for start in range(0, len(order), 2))


def trained_names(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("last", range(1, 7))
def test_each_layer_of_a_base_model_has_7087872_parameters(last):
    with torch.device("meta"):
        model = transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False)
    unfreeze_last(model, last)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 7_087_872 * last
    layers = {name.split(".")[2] for name in trained_names(model)}
    assert layers == {str(11 - n) for n in range(last)}


@pytest.mark.parametrize("last", [1, 2])
def test_gradients_reach_the_last_layers_alone(build, last):
    text = build(last).train()
    text(torch.arange(6), 0).square().sum().backward()
    reached = {name for name, p in text.model.named_parameters() if p.grad is not None}
    assert reached == trained_names(text.model)
    assert {name.split(".")[2] for name in reached} == {str(1 - n) for n in range(last)}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_without_dropout_the_vectors_are_those_of_the_frozen_model(folder, build, pooling):
    encoder = load_text_encoder(folder, pooling, 32)
    rows = torch.tensor([4, 0, 5, 2, 2])
    expected = embed_batch(encoder, tokenize(encoder, [TEXTS[row] for row in rows])[0])
    found = build(1, pooling).eval()(rows, 0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_step_has_dropout_masks_of_its_own_and_repeats_them(build):
    text, rows = build().train(), torch.arange(6)
    first = text(rows, 3)
    assert torch.equal(text(rows, 3), first)
    assert not torch.equal(text(rows, 4), first)
    assert not torch.equal(build(seed=1).train()(rows, 3), first)


def test_the_programs_own_random_numbers_are_untouched(build):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build().train()(torch.arange(6), 0)  # loads, too
    assert torch.equal(torch.rand(3), expected)


def test_frozen_layers_have_no_dropout(build):
    text = build(1).train()
    assert text.training
    modes = [layer.training for layer in text.model.encoder.layer]
    assert (modes, text.model.embeddings.training) == ([False, True], False)


def test_going_back_part_by_part_gives_the_gradient_of_the_whole(build):
    rows, weight = torch.tensor([4, 0, 5, 2, 1]), torch.randn(5, 32)
    whole, parts = build(2).train(), build(2).train()
    (whole(rows, 7) * weight).sum().backward()
    parts.backward(rows, 7, weight)
    for (name, a), b in zip(whole.model.named_parameters(), parts.model.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_the_centre_is_the_mean_vector_by_study_before_training(build):
    text = build().train()
    rows = torch.tensor([0, 0, 0, 1, 4])
    text.measure_center(rows)
    assert text.training
    assert float(text.eval()(rows, 0).detach().mean(0).abs().max()) < 1e-6


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("last", [1, 2])
def test_kept_lower_layers_change_no_vector_and_no_gradient(build, last, implementation):
    plain, kept = build(last).train(), build(last, keep_lower=True).train()
    for text in (plain, kept):
        text.model.set_attn_implementation(implementation)
    rows, weight = torch.tensor([4, 0, 5, 2, 2]), torch.randn(5, 32)
    torch.testing.assert_close(kept(rows, 3), plain(rows, 3), rtol=0, atol=1e-5)
    for text in (plain, kept):
        text.backward(rows, 3, weight)
    gradients = [
        {name: p.grad for name, p in text.model.named_parameters() if p.grad is not None}
        for text in (plain, kept)
    ]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)
    assert "frozen layers' states kept" in kept.kept() and plain.kept() == ""


def test_lower_layers_that_do_not_fit_are_refused(build, monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       1 kB\n")
    monkeypatch.setattr(lower_states, "MEMORY", tmp_path / "meminfo")
    with pytest.raises(InputError, match="text.keep_lower is true, but .* GB free memory"):
        build(keep_lower=True)


def test_no_text_gives_no_vector(build):
    assert build().train()(torch.empty(0, dtype=torch.int64), 0).shape == (0, 32)


def test_trained_layers_and_centre_are_saved_and_taken_back(build):
    text, other = build(1), build(1)
    text.measure_center(torch.arange(6))
    with torch.no_grad():
        for layer in text.model.encoder.layer[-1:]:
            layer.output.dense.weight.add_(1)
    other.load_trained_state(text.trained_state())
    assert len(text.trained_state()) == 17
    assert torch.equal(other.eval()(torch.arange(6), 0), text.eval()(torch.arange(6), 0))


def test_the_layers_of_another_run_are_refused(build):
    with pytest.raises(InputError, match="give the same text.path and text.unfreeze_last"):
        build(2).load_trained_state(build(1).trained_state())


@pytest.mark.parametrize("last", [0, 3])
def test_a_number_of_layers_that_there_is_not_is_refused(build, last):
    with pytest.raises(InputError, match=f"text.unfreeze_last is {last}, but there are 2 layers"):
        build(last)


def test_a_model_without_layers_is_refused():
    with pytest.raises(InputError, match="cannot find the layers of a Linear"):
        unfreeze_last(torch.nn.Linear(1, 1), 1)


def test_tokens_are_those_of_the_tokenizer(folder, monkeypatch):
    monkeypatch.setattr(tokens, "_TEXTS_AT_ONCE", 4)
    encoder = load_text_encoder(folder, "mean", 8)
    expected, truncated = tokenize(encoder, TEXTS)
    found = Tokens(encoder, TEXTS)
    assert [found[place].tolist() for place in range(len(found))] == expected
    assert found.truncated == truncated == 2
