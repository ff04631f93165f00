from __future__ import annotations

import pytest
import torch

from mlgraph import ConfigError, ShapeError, Task, nn, po
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec

CODES = TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5))
