"""Several processes read their shares of batches of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mlgraph import DataError, Task, lazy, po
from mlgraph.data.batching import batched
from mlgraph.data.feed import Feed
from mlgraph.data.loader import ReadBatches
from mlgraph.data.tensortoken import TensorToken
from mlgraph.tensor.spec import TensorSpec
from mlgraph.train.loop import train
from mlgraph.train.lossfn import ObjectiveFn
from mlgraph.train.parallel.together import shared
from mlgraph.train.run import Plan, Run, Validation

N = 21  # batches of 8, 8 and 5
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 3, 4, 4)).astype(np.uint8)


def batches(column, rows=slice(None)):
    task = Task({"image": column}).take(np.arange(N)[rows])
    # Threads share torch's stream; flips do not draw from it.
    task = (
        po("augment_random_horizontal_flip")
        .as_graph()
        .fit(task, seed=1)
        .outputs["augment_random_horizontal_flip.output"]
    )
    token = TensorToken("x", ("image",), TensorSpec(("batch", 3, 4, 4), torch.float32))
    target = torch.arange(float(N))[rows, None] / N
    found = batched(Feed({"x": task}), {"x": token}, target, None, 8, seed=1)
    assert isinstance(found, ReadBatches)
    return found


def made(column, valid=None):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
    draw = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        weight.data = torch.randn(weight.shape, generator=draw) / 1000
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-7)
    objective = ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none"))
    run = Run(network, objective, optimizer, batches(column), Plan(epochs=3), seed=1)
    if valid is not None:
        run.validation = Validation(
            batches=batches(valid), scorer=lambda output, kept: {"valid_sum": float(output.sum())}
        )
    return run


def test_the_shares_of_images_are_the_batches_of_one_process(ranks):
    def one(group):
        run = made(lazy(PIXELS), lazy(PIXELS))
        return train(run, shared(run, {}, group))

    alone = train(made(lazy(PIXELS), lazy(PIXELS)))
    for run in ranks(one, 2):
        for name, weight in alone.network.state_dict().items():
            torch.testing.assert_close(run.network.state_dict()[name], weight)
        for mine, its in zip(run.history, alone.history, strict=True):
            assert mine == pytest.approx(its, rel=1e-5)


@pytest.mark.parametrize("where", ["train", "valid"])
@pytest.mark.filterwarnings("ignore:1 rows are left out")
def test_rows_that_cannot_be_read_end_all_processes(where, ranks, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(N)]
    for path, pixels in zip(paths, PIXELS, strict=True):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path)
    paths[0].unlink()
    broken = lazy([str(path) for path in paths], shape=(3, 4, 4), on_error="skip")

    def one(group):
        columns = (broken, None) if where == "train" else (lazy(PIXELS), broken)
        run = made(*columns)
        return train(run, shared(run, {}, group))

    found = ranks(one, 2)
    assert any(isinstance(error, DataError) for error in found)
    assert all("cannot be left out" in str(error) for error in found)
