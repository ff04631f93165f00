"""The whole graph around TabM: an ensemble of perceptrons in one network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mlgraph.catalogue import nn
from mlgraph.core.compose import chain
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, listing
from mlgraph_nodes.recipe_parts import DATES, NUMERIC, Scaling, flat, refuse_other, trained
from mlgraph_nodes.recipe_values import knows

Architecture = Literal["tabm", "tabm-mini", "tabm-packed"]
NumEmbeddings = Literal["piecewise_linear", "periodic", "linear_relu"]


@knows(
    "arch_type",
    "n_blocks",
    "activation",
    "num_embeddings",
    "d_embedding",
    "embedding",
    "scaling",
)
def tabm(
    task: Task,
    *,
    arch_type: Architecture = "tabm",
    k: int = 32,
    n_blocks: int | None = None,
    d_block: int = 512,
    dropout: float = 0.1,
    activation: str = "relu",
    start_scaling_init: Literal["random-signs", "normal"] | None = None,
    num_embeddings: NumEmbeddings | None = None,
    d_embedding: int | None = None,
    embedding: Mapping[str, Any] | None = None,
    scaling: Scaling = "standard",
    lr: float = 2e-3,
    weight_decay: float = 3e-4,
    **trainer: Any,
) -> Graph:
    """TabM: an ensemble of perceptrons in one network, which share most of their weights.

    Categories are one-hot. The members are trained together, and their probabilities or
    quantities are averaged.

    Args:
        task: The task, or one with the same columns.
        arch_type: What the members share: ``"tabm"`` all but vectors in each layer,
            ``"tabm-mini"`` all but the scale of the features, ``"tabm-packed"`` nothing.
        k: Number of members.
        n_blocks: Number of blocks; None for 3, and for 2 with embeddings of numbers.
        d_block: Width of a block.
        dropout: Of each block.
        activation: Key of the activation.
        start_scaling_init: The start of the first vectors; None for ``"random-signs"``, and for
            ``"normal"`` with embeddings of numbers.
        num_embeddings: What is made of numbers, if they do not enter as they are.
        d_embedding: Width of an embedding; None for that of the layer.
        embedding: Other parameters of the embedding, ``{"n_bins": 24}``.
        scaling: Of numbers: ``"standard"``, or ``"quantile"``, to a normal distribution.
        lr: Learning rate of AdamW.
        weight_decay: Its weight decay.
        trainer: Parameters of ``torch_model``.

    Raises:
        ConfigError: There are no numbers to embed, no vectors to start, or parameters of an
            embedding without one.

    References: Gorishniy et al. (2024), "TabM: Advancing Tabular Deep Learning with
    Parameter-Efficient Ensembling", arXiv:2410.24210.

    >>> task = Task({"x": [1.0, 2.0, 3.0], "y": [0.5, 1.0, 1.5]}, target="y")
    >>> tabm(task, arch_type="tabm-mini", epochs=3).ids[3:7]
    ('ingress_num', 'ensemble', 'ensemble_scale', 'block')
    """
    refuse_other(task)
    if arch_type == "tabm-packed" and start_scaling_init is not None:
        raise ConfigError(
            "The members of a packed TabM have no vectors to start.",
            why=f"start_scaling_init={start_scaling_init!r}",
            mend='leave it out, or choose arch_type="tabm"',
        )
    embedded = _embedding(task, num_embeddings, d_embedding, embedding)
    start = start_scaling_init or ("random-signs" if embedded is None else "normal")
    width = 1 if embedded is None else embedded.parameters()["d_embedding"]
    blocks = (3 if embedded is None else 2) if n_blocks is None else n_blocks
    tail = nn(activation) >> nn("dropout", dropout)
    network = chain(
        flat(task, scaling, embedded),
        nn("ensemble", k),
        nn("ensemble_scale", start, feature_width=width) if arch_type == "tabm-mini" else None,
        _tabm_blocks(arch_type, tail, blocks, d_block, start, width),
        nn("ensemble_head"),
    )
    return trained(task, network, lr, weight_decay, trainer)


def _embedding(
    task: Task,
    kind: NumEmbeddings | None,
    width: int | None,
    params: Mapping[str, Any] | None,
) -> Node | None:
    given: dict[str, Any] = {} if width is None else {"d_embedding": width}
    if kind is None:
        _refuse_unused([*given, *(["embedding"] if params is not None else [])])
        return None
    _refuse_no_numbers(task, kind)
    inner = params or {}
    if "d_embedding" in inner:
        raise ConfigError(
            "The width of an embedding is a parameter of its own.",
            why=f"embedding={dict(inner)!r}",
            mend=f"write d_embedding={inner['d_embedding']!r}",
        )
    return nn(f"{kind}_embedding", **given, **inner)


def _refuse_unused(given: list[str]) -> None:
    if given:
        raise ConfigError(
            f"There is no embedding to take {listing(given)}.",
            why="num_embeddings=None: numbers enter as they are",
            mend='choose one: num_embeddings="periodic"',
        )


def _refuse_no_numbers(task: Task, kind: str) -> None:
    if not any(task.types[name] in (*NUMERIC, *DATES) for name in task.features):
        raise ConfigError(
            "There are no numbers to embed.",
            why=f"num_embeddings={kind!r}, and all features are categories",
            mend="leave num_embeddings out",
        )


def _tabm_blocks(
    arch: Architecture, tail: Graph, n_blocks: int, d_block: int, start: str, width: int
) -> Node:
    """The blocks of TabM; in the first, the vectors of the members start at random."""
    if arch == "tabm-mini":
        return nn("block", nn("linear", d_block) >> tail, n_blocks)
    if arch == "tabm-packed":
        return nn("block", nn("separate_linear", d_block) >> tail, n_blocks)
    first = [place == 0 for place in range(n_blocks)]
    vary = {
        "ensemble_linear__r_init": [start if here else "ones" for here in first],
        "ensemble_linear__feature_width": [width if here else None for here in first],
    }
    return nn("block", nn("ensemble_linear", d_block) >> tail, n_blocks, vary=vary)
