import copy

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import nn

from mflag.config.optim import OptimConfig
from mflag.models import load_encoder
from mflag.models.encoder import build_encoder
from mflag.models.encoder_file import save_encoder
from mflag.models.grey_stem import (
    STEM,
    find_grey_stem,
    input_channels,
    on_three_channels,
    to_one_channel,
)
from mflag.training.optimizer import build_optimizer


def pair():
    """The same encoder in float64 on three equal channels and on one."""
    torch.manual_seed(0)
    three = build_encoder("resnet18").double()
    return three, to_one_channel(copy.deepcopy(three))


def grey(count=4, size=32):
    return torch.randn(count, 1, size, size, dtype=torch.float64)


@pytest.mark.parametrize("trains", [False, True])
def test_one_channel_gives_the_features_of_three_equal_ones(trains):
    three, one = (encoder.train(trains) for encoder in pair())
    x = grey()
    expected = three(x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(one(x), expected, rtol=1e-11, atol=1e-11)


def test_expanded_again_the_features_stay():
    _, one = pair()
    three = build_encoder("resnet18").double()
    three.load_state_dict(on_three_channels(one.state_dict()))
    x = grey()
    expected = one.eval()(x)
    found = three.eval()(x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_a_state_on_three_channels_is_left_alone():
    three, one = pair()
    state = three.state_dict()
    assert on_three_channels(state) is state
    assert input_channels(three) == 3 and find_grey_stem(three) is None
    assert input_channels(one) == 1 and find_grey_stem(one) is one.conv1.weight
    assert to_one_channel(one) is one and one.conv1.weight.shape == (64, 1, 7, 7)


def test_the_file_has_three_channels_and_torchvision_takes_it_strictly(tmp_path):
    one = to_one_channel(build_encoder("resnet18")).eval()
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, one, "resnet18", 32)
    tensors = load_file(path)
    assert tensors[STEM].shape == (64, 3, 7, 7)
    model = torchvision.models.resnet18()
    model.fc = nn.Identity()
    model.load_state_dict(tensors, strict=True)
    x = grey().float()
    torch.testing.assert_close(load_encoder(path)(x.expand(-1, 3, -1, -1)), one(x))
    again = to_one_channel(build_encoder("resnet18", str(path))).eval()
    torch.testing.assert_close(again(x), one(x))


class Stem(nn.Module):
    """A stem and something behind it."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 3, bias=False).double()
        self.head = nn.Linear(4, 2).double()

    def forward(self, x):
        return self.head(self.conv1(x).relu().mean(dim=(2, 3)))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_moves_the_summed_weights_as_it_moves_the_three(weight_decay):
    torch.manual_seed(0)
    three = Stem(3)
    one = to_one_channel(copy.deepcopy(three))
    config = OptimConfig(name="adamw", lr=1e-2, weight_decay=weight_decay)
    steps = []
    for model in (three, one):
        optimizer = build_optimizer([model], config, 8, grey_stem=find_grey_stem(model))
        for number in range(5):
            torch.manual_seed(number)
            x = grey(8, 6)
            optimizer.zero_grad()
            model(x.expand(-1, model.conv1.in_channels, -1, -1)).square().mean().backward()
            optimizer.step()
        steps.append(model.conv1.weight.sum(1).detach())
    torch.testing.assert_close(steps[1], steps[0], rtol=1e-6, atol=1e-7)


def test_lars_moves_the_stem_by_its_own_norm():
    one = to_one_channel(Stem(3))
    config = OptimConfig(name="lars", lr=0.5, trust_coefficient=0.01, weight_decay=1e-9)
    optimizer = build_optimizer([one], config, 8, grey_stem=find_grey_stem(one))
    assert len(optimizer.param_groups) == 2
    before = one.conv1.weight.detach().clone()
    one(grey(8, 6)).square().mean().backward()
    optimizer.step()
    moved = (one.conv1.weight.detach() - before).norm() / before.norm()
    assert float(moved) == pytest.approx(0.5 * 0.01, rel=1e-4)
