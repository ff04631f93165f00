"""What ``python -m mlgraph`` runs."""

from __future__ import annotations

import sys

from mlgraph.cli import main

if __name__ == "__main__":
    sys.exit(main())
