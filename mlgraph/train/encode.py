"""What the outputs of a network mean: what a task needs them to be, and the Prediction they are."""

from __future__ import annotations

import attrs
from torch import Tensor

from mlgraph.data.prediction import Prediction
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.members import combined, is_ensemble


def check_output(descriptor: ModelDescriptor) -> None:
    """Refuse a network whose output is not what the task needs.

    Raises:
        ShapeError: Wrong rank, wrong last size, or the batch is not the first dimension.

    >>> from mlgraph import nn
    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y")
    >>> check_output(nn("head").as_graph().fit(task).outputs["head.output"])
    """
    spec, size = descriptor.spec, descriptor.task.output_size
    rank = 3 if is_ensemble(descriptor) else 2
    if spec.rank == rank and spec.shape[0] == "batch" and spec.shape[-1] == size:
        return
    turned = spec.rank > 0 and spec.shape[0] != "batch"
    raise ShapeError(
        f"The network puts out {spec}, and the task needs (batch, {size}).",
        where=f"output of {descriptor.source.id!r}",
        why="the first dimension is no longer the batch"
        if turned
        else descriptor.task.type.needs(descriptor.task),
        mend="leave dimension 0 where it is: layers may change the others only"
        if turned
        else 'end the network with nn("head")'
        + ("" if spec.rank == 2 else ', after nn("flatten") or a pooling layer'),
    )


def prediction(output: Tensor, task: Task, spec: TaskSpec) -> Prediction:
    """The prediction that outputs stand for, as the kind of task says.

    Shape:
        output: ``(rows, output size)``, such as logits or quantities; of an ensemble, with the
            members in between. Everything is computed in float64.

    Raises:
        ConfigError: The kind of task makes something else of them.

    >>> import torch
    >>> spec = TaskSpec("classification", ("no", "yes"), "yes")
    >>> task = Task({"x": [0.0]})
    >>> prediction(torch.tensor([[0.0]]), task, spec).prob
    array([[0.5, 0.5]])
    """
    values = output.detach().cpu().double()
    values = combined(values, spec) if values.ndim == 3 else values
    found = spec.type.predict(values, spec, task)
    if not isinstance(found, Prediction):
        raise ConfigError(
            f"{type(spec.type).__name__}.predict() did not return a Prediction.",
            why=f"it returned a {type(found).__name__}",
            mend="return Prediction.regression(task.row_ids, ...) or another of its kinds",
        )
    return found if found.metrics else attrs.evolve(found, metrics=spec.type.metrics)
