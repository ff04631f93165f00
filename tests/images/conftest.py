"""Small images, tasks of them, and networks that learn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mlgraph import Graph, Task, lazy, nn, po

N = 30


class Images:
    """What the tests of images are made of."""

    array: NDArray[Any] = np.random.default_rng(1).integers(0, 256, (N, 3, 8, 8)).astype(np.uint8)
    labels: NDArray[Any] = np.where(np.random.default_rng(2).random(N) < 0.5, "a", "b")

    def task(self, column: Any = None, **more: Any) -> Task:
        """A task with the column ``image``, by default of numbers in memory."""
        image = lazy(self.array) if column is None else column
        return Task({"image": image, **more, "y": self.labels[: len(image)]}, target="y")

    def head(self, *callbacks: Any, **options: Any) -> Graph:
        """A network with dropout, so that the stream of the training has a say."""
        chosen = {"epochs": 2, "batch_size": 7, "progress": False, "num_workers": 0, **options}
        body = nn("conv2d", 4, kernel_size=3) >> nn("relu") >> nn("dropout", 0.3) >> nn("flatten")
        beside = po("torch_callbacks", list(callbacks))
        return body >> nn("head") >> beside >> po("torch_model", **chosen)

    def plain(self, *callbacks: Any, **options: Any) -> Graph:
        """Nothing random is done to the images."""
        return po("trafo_to_dtype", torch.float32, scale=True) >> self.head(*callbacks, **options)

    def augmented(self, *callbacks: Any, **options: Any) -> Graph:
        """Draws for all rows at once, and row by row."""
        return (
            po("trafo_to_dtype", torch.float32, scale=True)
            >> po("augment_random_crop", size=8, padding=1)
            >> po("augment_random_horizontal_flip")
            >> po("augment_color_jitter", brightness=0.5, contrast=0.5)
            >> self.head(*callbacks, **options)
        )

    def files(
        self,
        folder: Path,
        broken: Sequence[int] = (),
        size: Callable[[int], tuple[int, int]] = lambda i: (8, 8),
    ) -> list[str]:
        """Images in files, of which some are none."""
        paths = [folder / f"{i:02}.png" for i in range(N)]
        for i, path in enumerate(paths):
            if i in broken:
                path.write_bytes(b"no image")
                continue
            pixels = np.resize(self.array[i], (*size(i), 3))
            Image.fromarray(pixels).save(path)
        return [str(path) for path in paths]

    def same(self, one: Any, other: Any) -> bool:
        """Whether two fits learned the same, bit for bit."""
        a, b = one.trained().tensors, other.trained().tensors
        return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def images() -> Images:
    return Images()
