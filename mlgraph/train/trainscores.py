"""Scores of training rows: of the outputs as they come in an epoch, or of a pass after it.

Running scores are those of a network that learns meanwhile, with dropout at work; they cost one
copy per step. Clean scores are those of the network at the end of the epoch, in eval mode;
they cost a pass over the rows, and only in epochs that are evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mlgraph.data.batch import with_rows
from mlgraph.train.gathered import Gathered
from mlgraph.train.run import Run


def listening(forward: Callable[..., Any], run: Run) -> Callable[..., Any]:
    """The forward of a network, which notes outputs where training rows are scored by them.

    >>> from types import SimpleNamespace
    >>> listening(len, SimpleNamespace(training=None)) is len
    True
    """
    if run.training is None or run.training.clean is not None:
        return forward
    outputs = run.outputs

    def noting(*inputs: Tensor) -> Tensor:
        output: Tensor = forward(*inputs)
        outputs.add(output, len(inputs[0]))
        return output

    return noting


def running_scores(run: Run) -> dict[str, float]:
    """The scores of the outputs of an epoch, if it is evaluated and they were noted.

    >>> from types import SimpleNamespace
    >>> running_scores(SimpleNamespace(training=None))
    {}
    """
    training = run.training
    if training is None or training.clean is not None or not run.is_due:
        return {}
    count = sum(run.sizes[: run.step])
    places = torch.arange(count) if run.order is None else run.order[:count].cpu()
    kept = run.batches.kept
    places = places if kept is None else places[torch.from_numpy(kept[kept < count])]
    return dict(training.scorer(run.outputs.all(), places))


def clean_scores(run: Run) -> dict[str, float]:
    """The scores of all training rows for the network as it is, where those are asked for.

    >>> from types import SimpleNamespace
    >>> clean_scores(SimpleNamespace(training=None))
    {}
    """
    if run.training is None or run.training.clean is None:
        return {}
    forward = run.forward or run.network
    run.network.eval()
    with torch.no_grad():
        outputs = Gathered(run.training.clean.rows)
        for batch in with_rows(run.training.clean.epoch()):
            outputs.add(forward(*batch.inputs), len(batch.inputs[0]))
    run.network.train()
    kept = run.training.clean.kept
    places = None if kept is None else torch.from_numpy(kept)
    return dict(run.training.scorer(outputs.all(), places))
