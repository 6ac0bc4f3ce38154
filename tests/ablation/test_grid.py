import pytest

from mflag.ablation.command_line import quote_lists
from mflag.ablation.variants import choose_variants, grid_variants


def test_the_sweep_is_sixteen_configurations_beside_the_single_losses():
    names = [variant.name for variant in choose_variants("sweep", None)]
    assert len(names) == 19 and len(set(names)) == 19
    assert names[:3] == ["align_only-batch64", "align_only-batch128", "orth_only-batch64"]
    assert "standardize-share0.1-batch64" in names and "none-share0.3-batch128" in names


def test_a_grid_is_every_combination_in_words_of_the_command_line():
    found = grid_variants({"preset": ["paper", "authors"], "optim.lr": [0.1, None]})
    assert [(v.name, v.overrides) for v in found] == [
        ("paper-lr0.1", ("preset=paper", "optim.lr=0.1")),
        ("paper-lrnull", ("preset=paper", "optim.lr=null")),
        ("authors-lr0.1", ("preset=authors", "optim.lr=0.1")),
        ("authors-lrnull", ("preset=authors", "optim.lr=null")),
    ]


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("train=[preset=demo,a.b=[1,2]]", 'train=["preset=demo","a.b=[1,2]"]'),
        ("train=[ a={x:1,y:2} , b='1,2']", 'train=["a={x:1,y:2}","b=\'1,2\'"]'),
        ('train=["a=1",b=2]', 'train=["a=1","b=2"]'),
        ("evaluate=[]", "evaluate=[]"),
        ("fraction=[0.1,1.0]", "fraction=[0.1,1.0]"),
        ("train=preset=demo", "train=preset=demo"),
    ],
)
def test_lists_of_overrides_are_quoted_for_hydra(word, quoted):
    assert quote_lists([word]) == [quoted]
