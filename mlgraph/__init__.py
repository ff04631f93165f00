"""Deep-learning workflows as one typed graph: tables, networks and training, wired with ``>>``."""

from __future__ import annotations

from mlgraph.catalogue import nn, nodes, po
from mlgraph.cookbook import recipe, recipes
from mlgraph.core.compose import chain, replicate, union
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.core.param import param, tune
from mlgraph.core.port import Port
from mlgraph.core.route import branch
from mlgraph.data.kind import TaskType
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.make import lazy, materialize
from mlgraph.data.prediction import Prediction
from mlgraph.data.select import sel
from mlgraph.data.spread import QuantileRegression
from mlgraph.data.task import Task
from mlgraph.errors import (
    ConfigError,
    DataError,
    GraphError,
    MLGraphError,
    ShapeError,
    StateError,
)
from mlgraph.net.decorate import layer
from mlgraph.net.layer import Layer
from mlgraph.net.weights import load_weights
from mlgraph.store.load import load
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.find_lr import find_lr
from mlgraph.train.callbacks.known import callback
from mlgraph.train.metric import metric
from mlgraph.train.sampler import Sampler, sampler

__all__ = [
    "Callback",
    "ConfigError",
    "DataError",
    "FittedGraph",
    "Graph",
    "GraphError",
    "Layer",
    "LazyTensor",
    "MLGraphError",
    "Node",
    "Port",
    "Prediction",
    "QuantileRegression",
    "Sampler",
    "ShapeError",
    "StateError",
    "Task",
    "TaskType",
    "branch",
    "callback",
    "chain",
    "find_lr",
    "layer",
    "lazy",
    "load",
    "load_weights",
    "materialize",
    "metric",
    "nn",
    "nodes",
    "param",
    "po",
    "recipe",
    "recipes",
    "replicate",
    "sampler",
    "sel",
    "tune",
    "union",
]
__version__ = "0.1.0"
