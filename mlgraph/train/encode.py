"""What the outputs of a network mean: what a task needs them to be, and the Prediction they are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mlgraph.data.prediction import Prediction
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ShapeError
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
        why="the first dimension is no longer the batch" if turned else _needs(descriptor.task),
        mend="leave dimension 0 where it is: layers may change the others only"
        if turned
        else 'end the network with nn("head")'
        + ("" if spec.rank == 2 else ', after nn("flatten") or a pooling layer'),
    )


def prediction(output: Tensor, task: Task, spec: TaskSpec) -> Prediction:
    """The prediction that outputs stand for: probabilities of classes, or quantities.

    Shape:
        output: ``(rows, 1)`` logits of the positive class, ``(rows, classes)`` logits, or
            ``(rows, 1)`` quantities; of an ensemble, with the members in between. Probabilities
            are computed in float64.

    >>> spec = TaskSpec("classification", ("no", "yes"), "yes")
    >>> task = Task({"x": [0.0]})
    >>> prediction(torch.tensor([[0.0]]), task, spec).prob
    array([[0.5, 0.5]])
    """
    values = output.detach().cpu().double()
    values = combined(values, spec) if values.ndim == 3 else values
    truth = None if task.target is None else task.target_codes()
    if spec.kind == "regression":
        response = values.reshape(len(values)).numpy()
        return Prediction.regression(task.row_ids, response, truth, weights=task.weights())
    return Prediction.classification(
        task.row_ids,
        probabilities(values, spec),
        spec.classes,
        truth,
        positive=spec.positive,
        weights=task.weights(),
    )


def probabilities(
    logits: Tensor, spec: TaskSpec
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Probabilities ``(rows, classes)`` in the order of the classes.

    >>> probabilities(torch.tensor([[0.0]]), TaskSpec("classification", ("no", "yes")))
    array([[0.5, 0.5]], dtype=float32)
    """
    if not spec.is_binary:
        return torch.softmax(logits, dim=1).numpy()
    positive = torch.sigmoid(logits.reshape(len(logits), 1))
    pair = (torch.sigmoid(-logits.reshape(len(logits), 1)), positive)
    return torch.cat(pair if spec.positive_code == 1 else pair[::-1], dim=1).numpy()


def _needs(spec: TaskSpec) -> str:
    if spec.kind == "regression":
        return "a regression needs one quantity per row"
    if spec.is_binary:
        return "two classes need one logit, that of the positive class"
    return f"{len(spec.classes)} classes need one logit each"
