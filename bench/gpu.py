"""Seconds per epoch of networks on a GPU: mlgraph against hand-written loops, eager and compiled.

The grid is the one of the mlr3torch paper for GPUs: 2,000 rows and 1,000 features in memory,
batches of 32, 0 to 16 hidden layers of 1,000, 3,000 or 9,000 units, SGD and AdamW, rows not
shuffled. Each step is small for a GPU, so that most of the time may go into telling it what to do;
a compiled network has fewer things to tell, and one recorded in CUDA graphs a single one.

``hand`` is a loop over slices of tensors with a fused optimizer, ``hand_graphs`` the same with
``torch.compile(mode="reduce-overhead")``; ``mlgraph`` and ``mlgraph_compiled`` are a graph with
``compile="off"`` and ``"on"``. All have their turns, ratios and medians as in ``runtime.py``; an
epoch ends when its mean loss has arrived on the CPU. While a graph is fitted the random stream of
torch is its own, so two graphs cannot have turns: each has its relay with the loops. Up to three
networks are in memory at once, and a setting that does not fit is named and passed over.

    python bench/gpu.py            # the whole grid: table, results/gpu.csv and gpu.png
    python bench/gpu.py --quick    # three settings of it, nothing is written

Without CUDA nothing is measured, and the exit status is 0. ``--device cpu --rows 64`` tries the
script itself.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import torch

from bench.contestants import Setting
from bench.runtime import CLOCKS, LAYERS, OPTIMIZERS, RESULTS, Result, measure, show_ratios, write

WIDTHS = (1000, 3000, 9000)
RELAYS = (("hand", "mlgraph", "hand_graphs"), ("hand", "mlgraph_compiled"))
NAMES = ("hand", "hand_graphs", "mlgraph", "mlgraph_compiled")


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here: this benchmark was not run, and nothing is written.")
        return 0
    print(machine(given.device))
    results = list(fitting(quick_grid(given) if given.quick else full_grid(given), given))
    if results:
        show_ratios(results, NAMES)
    if results and not given.quick:
        write(results, Path(given.out), "gpu")
    return 0


def machine(device: str) -> str:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU, which means nothing"
    return f"torch {torch.__version__} on {name}"


def full_grid(given: argparse.Namespace) -> list[Setting]:
    """The grid of the paper, or a part of it."""
    cells = itertools.product(given.optimizers, given.widths, given.layers)
    return [_setting(given, layers, width, name) for name, width, layers in cells]


def quick_grid(given: argparse.Namespace) -> list[Setting]:
    """Three settings, from nothing but overhead to nothing but arithmetic."""
    cells = ((0, 1000, "sgd"), (8, 1000, "adamw"), (8, 3000, "sgd"))
    return [_setting(given, *cell) for cell in cells]


def fitting(grid: Sequence[Setting], given: argparse.Namespace) -> Iterator[Result]:
    """The results of the settings whose networks fit into the memory of the GPU."""
    for setting in grid:
        try:
            result = relayed(setting, given)
            shown = "  ".join(f"{name} {1e3 * result.typical(name):.1f}" for name in NAMES)
            print(f"{result.label:<14} {shown}  ms", flush=True)
            yield result
        except torch.OutOfMemoryError:
            print(f"{setting.layers} x {setting.width} {setting.optimizer}: not enough memory")
        # Each setting is other code; what was compiled for the last one only takes up memory.
        torch.compiler.reset()
        if given.device == "cuda":
            torch.cuda.empty_cache()


def relayed(setting: Setting, given: argparse.Namespace) -> Result:
    """One setting, in two relays."""
    found = [measure(setting, names, given) for names in RELAYS]
    seconds = {name: times for result in reversed(found) for name, times in result.seconds.items()}
    return Result(found[0].setting, seconds)


def _setting(given: argparse.Namespace, layers: int, width: int, optimizer: str) -> Setting:
    made = Setting(layers=layers, width=width, optimizer=optimizer, device=given.device)
    return attrs.evolve(made, rows=given.rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Seconds per epoch on a GPU, eager and compiled.")
    parser.add_argument("--quick", action="store_true", help="three settings, nothing written")
    parser.add_argument("--layers", type=int, nargs="+", choices=LAYERS, default=LAYERS)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=OPTIMIZERS)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=5, help="timed epochs in a row")
    parser.add_argument("--repeats", type=int, default=3, help="how often to start afresh")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", default=str(RESULTS), help="folder of the results")
    parser.set_defaults(clock=next(iter(CLOCKS)))
    return parser


if __name__ == "__main__":
    sys.exit(main())
