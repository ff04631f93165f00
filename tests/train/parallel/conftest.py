"""Two processes without processes: threads with connections of their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from mlgraph.train.parallel.group import Group

WAIT = timedelta(seconds=60)


@pytest.fixture
def ranks():
    """Call a function with the group of each of some ranks at once; what they return or raise."""

    def at_once(function, size: int = 2) -> list:
        store = dist.HashStore()

        def one(rank: int):
            group = Group(rank, size, store, dist.ProcessGroupGloo(store, rank, size, WAIT))
            try:
                return function(group)
            except Exception as error:
                group.leave_word(error)
                return error
            finally:
                group.close()

        with torch.random.fork_rng(devices=[]), ThreadPoolExecutor(size) as pool:
            return list(pool.map(one, range(size)))

    return at_once
