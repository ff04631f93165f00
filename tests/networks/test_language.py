"""A transformer that predicts the next character of a text from those before it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import nn as tnn
from torch.nn import functional

from mlgraph import Graph, nn
from mlgraph.tensor.spec import TensorSpec

README = Path(__file__).parents[2] / "README.md"
WIDTH, LONGEST = 32, 64
TEXT = TensorSpec(("batch", "time"), torch.int64)
RENAME = {"positions": "positional_embedding.weight", "layers.": "block."}


def language_model(n_characters: int, n_layers: int = 2) -> Graph:
    layer = nn(
        "transformer_encoder_layer",
        nhead=4, dim_feedforward=2 * WIDTH, norm_first=True, is_causal=True, id="layer",
    )  # fmt: skip
    embedding = nn(
        "module", tnn.Embedding, num_embeddings=n_characters, embedding_dim=WIDTH, id="embedding"
    )
    return (
        embedding
        >> nn("positional_embedding", max_len=LONGEST)
        >> nn("block", layer, n_layers)
        >> nn("layer_norm")
        >> nn("linear", n_characters)
    )


class LanguageModel(tnn.Module):
    def __init__(self, n_characters: int, n_layers: int = 2) -> None:
        super().__init__()
        self.embedding = tnn.Embedding(n_characters, WIDTH)
        self.positions = tnn.Parameter(torch.randn(LONGEST, WIDTH))
        layers = {str(place): tnn.ModuleDict({"layer": self.layer()}) for place in range(n_layers)}
        self.layers = tnn.ModuleDict(layers)
        self.layer_norm = tnn.LayerNorm(WIDTH)
        self.linear = tnn.Linear(WIDTH, n_characters)

    @staticmethod
    def layer() -> tnn.Module:
        return tnn.TransformerEncoderLayer(
            WIDTH, 4, dim_feedforward=2 * WIDTH, norm_first=True, batch_first=True
        )

    def forward(self, text: Tensor) -> Tensor:
        time = text.shape[1]
        mask = torch.ones(time, time, dtype=torch.bool).triu(1)
        x = self.embedding(text) + self.positions[:time]
        for part in self.layers.values():
            x = part["layer"](x, src_mask=mask)
        logits: Tensor = self.linear(self.layer_norm(x))
        return logits


@pytest.fixture(scope="module")
def text() -> Tensor:
    """The first sections of the README, a code for each character."""
    characters = README.read_text(encoding="utf-8")[:4000]
    known = sorted(set(characters))
    return torch.tensor([known.index(character) for character in characters])


def _characters(text: Tensor) -> int:
    return int(text.max()) + 1


def test_it_is_the_module_written_by_hand_for_texts_of_any_length(check_same, text):
    network = language_model(_characters(text)).network(TEXT, seed=1)
    by_hand = partial(LanguageModel, _characters(text))
    for time in (7, LONGEST):
        check_same(network, by_hand, text[: 3 * time].view(3, time), rename=RENAME)


def test_the_shape_is_known_but_for_batch_and_time(shapes):
    assert shapes(language_model(50), {"embedding.input": TEXT}) == [(None, None, 50)]


def test_what_comes_later_changes_nothing_before_it(text):
    network = language_model(_characters(text)).network(TEXT, seed=1).eval()
    before = text[:20].view(1, 20)
    after = before.clone()
    after[0, -1] = (after[0, -1] + 1) % _characters(text)
    was, now = network(before), network(after)
    assert torch.equal(was[:, :-1], now[:, :-1])
    assert not torch.equal(was[:, -1], now[:, -1])
    torch.testing.assert_close(network(before[:, :12]), was[:, :12])


def test_without_the_mask_the_end_reaches_the_start(text):
    blind = language_model(_characters(text)).with_params(block__layer__is_causal=False)
    network = blind.network(TEXT, seed=1).eval()
    before = text[:20].view(1, 20)
    after = before.clone()
    after[0, -1] = (after[0, -1] + 1) % _characters(text)
    assert not torch.allclose(network(before)[:, 0], network(after)[:, 0])


def test_it_learns_the_readme(train, text):
    windows = text.unfold(0, 49, 16)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    batches = [((some[:, :-1],), some[:, 1:]) for some in windows[order].split(32)] * 10
    network = language_model(_characters(text)).network(TEXT, seed=1)

    def loss(logits: Tensor, following: Tensor) -> Tensor:
        return functional.cross_entropy(logits.flatten(0, 1), following.flatten())

    losses = train(network, loss, batches, lr=5e-3)
    shares = text.bincount() / len(text)
    entropy = -(shares * shares.log()).nansum().item()  # of characters without their context
    last = sum(losses[-5:]) / 5
    assert last < 0.6 * losses[0]
    assert last < 0.8 * entropy
