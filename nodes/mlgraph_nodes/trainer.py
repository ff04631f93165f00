"""The terminal nodes."""

from __future__ import annotations

from mlgraph.train.trainer import Trainer


class TorchModel(Trainer):
    """Train a network with PyTorch, and predict with it; see ``Trainer`` for the parameters.

    >>> from mlgraph import Task, nn, po
    >>> task = Task({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.0]}, target="y")
    >>> fast = po("torch_optimizer", "adamw", lr=0.1)
    >>> graph = nn("linear") >> fast >> po("torch_model", epochs=200, batch_size=4)
    >>> graph.fit(task, seed=1).predict({"x": [1.5]}).response.round(1)
    array([4.])
    """
