"""Packages that only some values need: they are extras of the installation."""

from __future__ import annotations

import importlib
from typing import Any

from mlgraph.core.keyed import Keyed
from mlgraph.errors import ConfigError


def needed(owner: Keyed, module: str, extra: str) -> Any:
    """A module that may not be installed.

    Args:
        owner: What needs it.
        module: Its name.
        extra: The extra of mlgraph that brings it.

    Raises:
        ConfigError: It is not installed; names the extra.

    >>> needed(Keyed(), "math", "plot").floor(1.5)
    1
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{owner.call_name()} needs a package that is not installed.",
            why=str(error),
            mend=f'pip install "mlgraph[{extra}]"',
        ) from error
