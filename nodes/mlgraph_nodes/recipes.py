"""Whole graphs for tables, from the columns of a task to predictions.

A recipe is a function that looks at the types of a task's features and returns a graph:

    graph = ft_transformer(task, n_blocks=2, epochs=50)
    fitted = graph.fit(task, valid=0.2)

Missing values are imputed, dates are taken apart, numbers scaled; categories enter as codes, with
one more code for levels that turn up later; quantities to predict are standardised, and
predictions scaled back. The graph is one like any other: it can be printed, taken apart, and
changed with ``with_params``. Keyword arguments that a recipe does not name are parameters of
``torch_model``. Parameters may be left to tuning, apart from those that a recipe computes with or
uses twice: these are named in ``@knows(...)``.
"""

from __future__ import annotations

from typing import Any

from mlgraph.catalogue import nn, po
from mlgraph.core.compose import chain
from mlgraph.core.graph import Graph
from mlgraph.data.task import Task
from mlgraph_nodes.recipe_parts import Scaling, flat, in_units, tokens, trained
from mlgraph_nodes.recipe_values import knows
from mlgraph_nodes.tabm_recipe import tabm
from mlgraph_nodes.vision_recipe import vision

__all__ = ["featureless", "ft_transformer", "mlp", "tab_resnet", "tabm", "vision"]


@knows("activation", "scaling")
def mlp(
    task: Task,
    *,
    n_blocks: int = 2,
    d_block: int = 384,
    dropout: float = 0.1,
    activation: str = "relu",
    scaling: Scaling = "standard",
    lr: float = 1e-3,
    weight_decay: float = 1e-5,
    **trainer: Any,
) -> Graph:
    """A multi-layer perceptron: blocks of an affine map, an activation and dropout.

    Categories are one-hot.

    Args:
        task: The task, or one with the same columns.
        n_blocks: Number of blocks; without any, the model is linear.
        d_block: Width of a block.
        dropout: Of each block.
        activation: Key of the activation.
        scaling: Of numbers: ``"standard"``, or ``"quantile"``, to a normal distribution.
        lr: Learning rate of AdamW.
        weight_decay: Its weight decay.
        trainer: Parameters of ``torch_model``.

    References: Gorishniy et al. (2021), "Revisiting Deep Learning Models for Tabular Data",
    arXiv:2106.11959.

    >>> task = Task({"x": [1.0, 2.0, 3.0], "y": [0.5, 1.0, 1.5]}, target="y")
    >>> mlp(task, n_blocks=1, epochs=3).ids
    ('targetscale', 'impute', 'scale', 'ingress_num', 'block', 'head', 'torch_optimizer',
    'torch_model', 'targetinvert')
    """
    block = nn("linear", d_block) >> nn(activation) >> nn("dropout", dropout)
    network = chain(flat(task, scaling), nn("block", block, n_blocks), nn("head"))
    return trained(task, network, lr, weight_decay, trainer)


@knows("scaling")
def tab_resnet(
    task: Task,
    *,
    n_blocks: int = 2,
    d_block: int = 192,
    d_hidden: int | None = None,
    d_hidden_multiplier: float | None = None,
    dropout1: float = 0.15,
    dropout2: float = 0.0,
    scaling: Scaling = "standard",
    lr: float = 1e-3,
    weight_decay: float = 1e-5,
    **trainer: Any,
) -> Graph:
    """A residual network: blocks with batch norm whose output is added to their input.

    Categories are one-hot.

    Args:
        task: The task, or one with the same columns.
        n_blocks: Number of blocks.
        d_block: Width of what they are added to.
        d_hidden: Width inside a block.
        d_hidden_multiplier: The same in units of ``d_block``; 2 where neither is given.
        dropout1: Inside a block.
        dropout2: Of what a block adds.
        scaling: Of numbers: ``"standard"``, or ``"quantile"``, to a normal distribution.
        lr: Learning rate of AdamW.
        weight_decay: Its weight decay.
        trainer: Parameters of ``torch_model``.

    References: Gorishniy et al. (2021), "Revisiting Deep Learning Models for Tabular Data",
    arXiv:2106.11959.

    >>> task = Task({"x": [1.0, 2.0, 3.0], "y": [0.5, 1.0, 1.5]}, target="y")
    >>> tab_resnet(task, n_blocks=1, epochs=3).ids[4:8]
    ('input_projection', 'block', 'batch_norm1d', 'relu')
    """
    block = nn(
        "tab_resnet_block",
        d_hidden=d_hidden,
        d_hidden_multiplier=d_hidden_multiplier,
        dropout1=dropout1,
        dropout2=dropout2,
    )
    network = chain(
        flat(task, scaling),
        nn("linear", d_block, id="input_projection"),
        nn("block", block, n_blocks),
        nn("batch_norm1d"),
        nn("relu"),
        nn("head"),
    )
    return trained(task, network, lr, weight_decay, trainer)


@knows("n_blocks", "d_token", "scaling")
def ft_transformer(
    task: Task,
    *,
    n_blocks: int = 3,
    d_token: int | None = None,
    attention_n_heads: int = 8,
    attention_dropout: float | None = None,
    ffn_d_hidden: int | None = None,
    ffn_d_hidden_multiplier: float | None = None,
    ffn_dropout: float | None = None,
    residual_dropout: float = 0.0,
    scaling: Scaling = "standard",
    lr: float = 1e-4,
    weight_decay: float = 1e-5,
    **trainer: Any,
) -> Graph:
    """FT-Transformer: every column is a token, and the tokens of a row attend to each other.

    What is predicted from is one more token, the first. Other parameters of the blocks are set
    with ``graph.with_params(block__ft_transformer_block__ffn_activation="geglu")``.

    Args:
        task: The task, or one with the same columns.
        n_blocks: Number of blocks.
        d_token: Width of a token; by default that of the paper for so many blocks.
        attention_n_heads: Number of heads; divides ``d_token``.
        attention_dropout: Of the weights of attention; by default that of the paper.
        ffn_d_hidden: Width inside the feed-forward networks.
        ffn_d_hidden_multiplier: The same in units of ``d_token``; 4/3 where neither is given.
        ffn_dropout: Inside the feed-forward networks; by default that of the paper.
        residual_dropout: Of what is added to the input.
        scaling: Of numbers: ``"standard"``, or ``"quantile"``, to a normal distribution.
        lr: Learning rate of AdamW.
        weight_decay: Its weight decay.
        trainer: Parameters of ``torch_model``.

    Differs from the paper: biases, norms and tokens decay like the other weights.

    References: Gorishniy et al. (2021), "Revisiting Deep Learning Models for Tabular Data",
    arXiv:2106.11959.

    >>> task = Task({"x": [1.0, 2.0, 3.0], "y": [0.5, 1.0, 1.5]}, target="y")
    >>> ft_transformer(task, n_blocks=1, epochs=3).ids[3:7]
    ('ingress_num', 'tokenizer_num', 'cls_token', 'block')
    """
    size = min(max(n_blocks, 1), 6) - 1  # the paper has defaults for one to six blocks
    width = (96, 128, 192, 256, 320, 384)[size] if d_token is None else d_token
    block = nn(
        "ft_transformer_block",
        attention_n_heads=attention_n_heads,
        attention_dropout=(2 + size) / 20 if attention_dropout is None else attention_dropout,
        ffn_d_hidden=ffn_d_hidden,
        ffn_d_hidden_multiplier=ffn_d_hidden_multiplier,
        ffn_dropout=size / 20 if ffn_dropout is None else ffn_dropout,
        residual_dropout=residual_dropout,
    )
    places = range(n_blocks)
    vary = {
        "ft_transformer_block__is_first_layer": [place == 0 for place in places],
        # Of the last block only the token that is predicted from is of use.
        "ft_transformer_block__query_idx": [
            (0,) if place == n_blocks - 1 else None for place in places
        ],
    }
    network = chain(
        tokens(task, width, scaling),
        nn("cls_token"),
        nn("block", block, n_blocks, vary=vary),
        nn("take", 0, id="first_token"),
        nn("layer_norm"),
        nn("relu"),
        nn("head"),
    )
    return trained(task, network, lr, weight_decay, trainer)


@knows()
def featureless(task: Task, **trainer: Any) -> Graph:
    """The baseline: a learned constant. It looks at no feature, so these may be anything.

    Args:
        task: The task, or one of the same kind.
        trainer: Parameters of ``torch_model``.

    >>> task = Task({"x": ["u", None, "v"], "y": [0.5, 1.0, 1.5]}, target="y")
    >>> fitted = featureless(task, epochs=3, progress=False).fit(task, seed=1)
    >>> fitted.predict({"x": ["w"]}).response.round(1)
    array([1.])
    """
    network = po("ingress_rows") >> nn("constant_output") >> po("torch_model", **trainer)
    return in_units(task, network)
