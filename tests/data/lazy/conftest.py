"""Sources that count how often they are asked, and images to read."""

from __future__ import annotations

import io

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from mlgraph.data.lazy.source import ArraySource, Source


@attrs.frozen(eq=False, slots=False)
class Counted(Source):
    """A source that remembers which rows it was asked for."""

    inner: Source
    asked: list = attrs.field(factory=list)

    @property
    def spec(self):
        return self.inner.spec

    @property
    def fingerprint(self):
        return self.inner.fingerprint

    def __len__(self):
        return len(self.inner)

    def fetch(self, rows):
        self.asked.append(rows.tolist())
        return self.inner.fetch(rows)


@pytest.fixture
def counted():
    """A source of six rows ``(2,)``: 0 1, 2 3, ..."""
    return Counted(ArraySource(torch.arange(12.0).reshape(6, 2)))


@pytest.fixture
def png():
    """Bytes of an image made of an array ``(height, width[, channels])``."""

    def encoded(array, kind="PNG", **options):
        file = io.BytesIO()
        Image.fromarray(np.asarray(array, dtype=np.uint8)).save(file, kind, **options)
        return file.getvalue()

    return encoded


@pytest.fixture
def images(tmp_path, png):
    """Paths of five images ``4 x 6`` and the array that is in them, ``(5, 4, 6, 3)``."""
    array = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, image in zip(paths, array, strict=True):
        path.write_bytes(png(image))
    return paths, array
