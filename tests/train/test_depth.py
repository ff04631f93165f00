"""The layers of a network, as a decay of learning rates counts them."""

import pytest
import torch
from torch import nn

from mlgraph.train.depth import depths


def of_torchvision(name):
    import torchvision

    with torch.device("meta"):
        return torchvision.models.get_model(name)


def layers(network, names=None):
    """The first name of each layer."""
    found = depths(network, names or {name for name, _ in network.named_parameters()})
    first = {}
    for name, depth in found.items():
        first.setdefault(depth, name)
    assert sorted(first) == list(range(len(first)))
    return list(first.values())


def test_the_blocks_of_a_resnet_are_its_layers():
    blocks = [f"layer{i}.{j}.conv1.weight" for i in range(1, 5) for j in range(2)]
    assert layers(of_torchvision("resnet18")) == ["conv1.weight", *blocks, "fc.weight"]


def test_the_blocks_of_a_transformer_are_its_layers():
    found = depths(network := of_torchvision("vit_b_16"), dict(network.named_parameters()))
    assert max(found.values()) == 13
    assert found["class_token"] == found["conv_proj.weight"] == 0
    assert found["encoder.pos_embedding"] == 0
    assert found["encoder.layers.encoder_layer_11.mlp.0.weight"] == 12
    assert found["encoder.ln.weight"] == 12
    assert found["heads.head.weight"] == 13


@pytest.mark.parametrize(("name", "count"), [("alexnet", 8), ("vgg11", 11), ("densenet121", 9)])
def test_other_networks_have_layers_too(name, count):
    assert len(layers(of_torchvision(name))) == count


def test_normalisations_count_with_the_layer_before_them():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert list(depths(network, dict(network.named_parameters())).values()) == [0] * 6 + [1] * 2


def test_only_what_is_asked_for_counts():
    network = of_torchvision("resnet18")
    names = {name for name, _ in network.named_parameters() if name[:6] in ("layer3", "layer4")}
    assert layers(network, names) == [f"layer{i}.{j}.conv1.weight" for i in (3, 4) for j in (0, 1)]
    assert depths(network, set()) == {}
