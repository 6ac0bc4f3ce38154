import pytest

from mflag.data.phantom_formats.label_names import CHEXPERT, NIH
from mflag.downstream.zero_shot.prompts import read_prompts
from mflag.errors import InputError


@pytest.mark.parametrize("names", [CHEXPERT, NIH], ids=["chexpert", "nih"])
def test_the_defaults_affirm_and_deny_every_label_of_the_field(names):
    prompts = read_prompts(None)
    for name in names:
        assert prompts[name].positive and prompts[name].negative, name


def test_a_file_of_ones_own_replaces_them(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("disc: {positive: [a bright disc]}\n")
    prompts = read_prompts(str(file))
    assert list(prompts) == ["disc"]
    assert prompts["disc"].positive == ["a bright disc"] and prompts["disc"].negative == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no label"),
        ("- a\n- b\n", "holds no label"),
        ("a: [", "is no YAML mapping"),
        ("disc: bright", "label 'disc' is 'bright'"),
        ("disc: {positiv: [a]}", "label 'disc'"),
        ("disc: {positive: a}", "label 'disc' has 'a'"),
        ("disc: {positive: [1]}", "label 'disc' has [1]"),
        ("disc: {negative: [a]}", "no positive sentence"),
    ],
)
def test_a_file_of_another_form_is_refused(text, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as refused:
        read_prompts(str(file))
    assert message in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere.yaml cannot be read"):
        read_prompts(str(tmp_path / "nowhere.yaml"))
