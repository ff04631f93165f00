"""Seconds per epoch of small networks on one CPU thread: mlgraph against hand-written loops.

The grid is the one of the mlr3torch paper: 2,000 rows and 1,000 features in memory, batches of 32,
0 to 16 hidden layers, SGD and AdamW, rows not shuffled. Six contestants (``contestants.py``) train
the same network. They take turns, one epoch each (``relay.py``); after the warm-up epochs each
round gives one ratio per contestant, of which the median is reported, so that a machine that is
busy for some seconds spoils single rounds and not the result. On a machine that is always busy
``--clock cpu`` counts the time that the thread had a core, and not the time it waited for one.

    python bench/runtime.py            # the whole grid: table, results/runtime.csv and runtime.png
    python bench/runtime.py --quick    # three settings of it, nothing is written
    python bench/runtime.py --validation    # with validation, history and progress

With ``--validation`` the contestants are those of ``validated.py``.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import geometric_mean, median
from time import perf_counter, thread_time
from typing import Any

import attrs
import torch

from bench.contestants import CONTESTANTS, Setting, graph_of, installed, task_of
from bench.relay import Runner, Tick, interleaved
from bench.table import show, verdict
from bench.validated import VALIDATED, rendering

LAYERS, WIDTHS, OPTIMIZERS = (0, 4, 8, 12, 16), (100, 200, 400), ("sgd", "adamw")
WARM_UP = 4
METRICS = ("rmse", "accuracy")
CLOCKS = {"wall": perf_counter, "cpu": thread_time}
RESULTS = Path(__file__).resolve().parent / "results"


@attrs.frozen
class Result:
    """The rounds of one setting: seconds by contestant, one number per round."""

    setting: Setting
    seconds: dict[str, list[float]]

    @property
    def label(self) -> str:
        """The setting in a few words."""
        return f"{self.setting.layers} x {self.setting.width} {self.setting.optimizer}"

    def typical(self, name: str) -> float:
        """Seconds per epoch of a contestant."""
        return median(self.seconds[name])

    def ratio(self, name: str, base: str) -> float:
        """How long a contestant takes, as a multiple of another in the same round."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return median(mine / other for mine, other in pairs)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    stay_on_one_core()
    present = [name for name in installed() if not given.validation or name in VALIDATED]
    names = tuple(given.only or present)
    grid = quick_grid() if given.quick else full_grid(given.layers, given.widths, given.optimizers)
    grid = [attrs.evolve(setting, metric=given.validation) for setting in grid]
    results = list(measured(grid, names, given))
    show_ratios(results, names)
    if given.out or len(grid) == len(full_grid()):
        write(results, Path(given.out or RESULTS))
    if not ({"hand", "mlgraph"} if given.validation else {"hand", "loader", "mlgraph"}) <= set(
        names
    ):
        return 0
    if not given.validation:
        cross_check(results[len(results) // 2], CLOCKS[given.clock])
    promises = targets_validated if given.validation else targets
    return 0 if verdict(promises(results)) or given.quick else 1


def stay_on_one_core() -> None:
    """Keep all contestants on one core: each has a thread, and cores are not equally busy."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def full_grid(
    layers: Sequence[int] = LAYERS,
    widths: Sequence[int] = WIDTHS,
    optimizers: Sequence[str] = OPTIMIZERS,
) -> list[Setting]:
    """The grid of the paper, or a part of it."""
    cells = itertools.product(optimizers, widths, layers)
    return [Setting(layers=n, width=width, optimizer=name) for name, width, n in cells]


def quick_grid() -> list[Setting]:
    """The part of it where overhead shows most."""
    cells = ((0, "sgd"), (4, "adamw"), (8, "sgd"))
    return [Setting(layers=n, width=100, optimizer=name) for n, name in cells]


def measured(
    grid: Iterable[Setting], names: Sequence[str], given: argparse.Namespace
) -> Iterator[Result]:
    """Measure each setting, and say so as it is done."""
    for setting in grid:
        start = perf_counter()
        result = measure(setting, names, given)
        shown = "  ".join(f"{name} {1e3 * result.typical(name):.1f}" for name in names)
        print(f"{result.label:<14} {shown}  ms  [{perf_counter() - start:.0f} s]", flush=True)
        yield result


def measure(setting: Setting, names: Sequence[str], given: argparse.Namespace) -> Result:
    """Some epochs of every contestant, in turn, after the warm-up; all of it several times."""
    clock = CLOCKS[given.clock]
    refuse_other_work(setting, names)
    setting = attrs.evolve(setting, epochs=WARM_UP + given.epochs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(given.repeats):
        for name, runner in _raced(setting, rotated(names, repeat), clock).items():
            seconds[name] += runner.seconds[WARM_UP:]
    return Result(setting, seconds)


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The contestants in another order: who comes first is not always the same."""
    by %= len(names)
    return [*names[by:], *names[:by]]


def refuse_other_work(setting: Setting, names: Sequence[str]) -> None:
    """Stop if the contestants disagree about the loss before or after their first step."""
    setting = attrs.evolve(setting, rows=setting.batch, epochs=2)
    runners = _raced(setting, names, perf_counter)
    losses = {name: runner.losses for name, runner in runners.items()}
    expected = losses[names[0]]
    # On a GPU the same product may be summed in another order, depending on its neighbours.
    tolerance = 1e-5 if setting.device == "cpu" else 1e-3
    for found in losses.values():
        if any(abs(a / b - 1) > tolerance for a, b in zip(found, expected, strict=True)):
            raise AssertionError(f"the contestants disagree about the loss: {losses}")


def _raced(setting: Setting, names: Sequence[str], clock: Callable[[], float]) -> dict[str, Runner]:
    table = VALIDATED if setting.metric else CONTESTANTS
    functions: dict[str, Callable[[Tick], None]] = {n: partial(table[n], setting) for n in names}
    with rendering() if setting.metric else nullcontext():
        return interleaved(functions, clock)


def show_ratios(results: Sequence[Result], names: Sequence[str]) -> None:
    """Print the ratios of every setting, and their geometric means."""
    for base in (base for base in ("hand", "loader") if base in names):
        others = [name for name in names if name != base]
        rows: list[list[object]] = [
            [result.label, *(f"{result.ratio(name, base):.3f}" for name in others)]
            for result in results
        ]
        means = (geometric_mean(r.ratio(name, base) for r in results) for name in others)
        rows.append(["geometric mean", *(f"{mean:.3f}" for mean in means)])
        show(["layers x width", *others], rows, f"time per epoch as a multiple of {base!r}")


def targets(results: Sequence[Result]) -> list[tuple[str, bool]]:
    """What mlgraph promises about its speed, and whether it holds."""
    shallow = [r.ratio("mlgraph", "hand") for r in results if r.setting.layers < 4]
    deep = [r.ratio("mlgraph", "hand") for r in results if r.setting.layers >= 4]
    usual = [r.ratio("mlgraph", "loader") for r in results]
    null = [r.ratio("again", "hand") for r in results if "again" in r.seconds]
    if null:
        print(f"\nthe hand-written loop against itself: {min(null):.3f} to {max(null):.3f}")
    promised = (
        ("at 4 layers and more at most {} of hand", 1.05, deep),
        ("without hidden layers at most {} of hand", 1.25, shallow),
        ("nowhere more than {} of loader", 1.0, usual),
    )
    found = [
        (f"{text.format(most)}: {max(ratios):.3f}", max(ratios) <= most)
        for text, most, ratios in promised
        if ratios
    ]
    if len(results) < len(full_grid()):
        return found  # the mean is promised over the whole grid
    mean = geometric_mean(usual)
    return [*found, (f"on average at most 0.7 of loader: {mean:.3f}", mean <= 0.7)]


def targets_validated(results: Sequence[Result]) -> list[tuple[str, bool]]:
    """What mlgraph promises with validation, history and progress, and whether it holds."""
    ratios = [result.ratio("mlgraph", "hand") for result in results]
    return [(f"everywhere at most 1.1 of hand: {max(ratios):.3f}", max(ratios) <= 1.1)]


def cross_check(result: Result, clock: Callable[[], float]) -> None:
    """Compare with whole fits seen from outside: many epochs minus few."""
    setting, few, many = result.setting, 5, 25
    task = task_of(setting)
    pairs = [[_fit_seconds(setting, task, n, clock) for n in (few, many)] for _ in range(3)]
    whole = median((long - short) / (many - few) for short, long in pairs)
    print(
        f"\n{result.label}: {1e3 * whole:.1f} ms per epoch by the difference of whole fits, "
        f"{1e3 * result.typical('mlgraph'):.1f} ms between the ends of epochs"
    )


def write(results: Sequence[Result], folder: Path, name: str = "runtime") -> None:
    """Write a table and a picture: ``runtime.csv``, or with validation ``runtime_rmse.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "_".join(filter(None, [name, results[0].setting.metric]))
    head = ["optimizer", "width", "layers", "contestant", "median_s", "min_s", "rounds"]
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for result in results:
            s = result.setting
            for who, seconds in result.seconds.items():
                times = f"{result.typical(who):.6f}", f"{min(seconds):.6f}"
                writer.writerow([s.optimizer, s.width, s.layers, who, *times, len(seconds)])
    draw(results, folder / f"{name}.png")


def draw(results: Sequence[Result], path: Path) -> None:
    """A panel per optimizer and width: time as a multiple of the hand-written loop, by depth."""
    from matplotlib.figure import Figure

    rows = sorted({r.setting.optimizer for r in results}, reverse=True)
    columns = sorted({r.setting.width for r in results})
    figure = Figure(figsize=(3.2 * len(columns), 2.6 * len(rows)), layout="constrained")
    panels: Any = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    for (i, optimizer), (j, width) in itertools.product(enumerate(rows), enumerate(columns)):
        cell = [r for r in results if (r.setting.optimizer, r.setting.width) == (optimizer, width)]
        _draw_panel(panels[i, j], cell)
        panels[i, j].set_title(f"{optimizer}, width {width}", fontsize=9)
    figure.supxlabel("hidden layers")
    figure.supylabel("time per epoch / hand-written loop")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=150)


def _draw_panel(panel: Any, results: Sequence[Result]) -> None:
    for name in (name for result in results[:1] for name in result.seconds if name != "hand"):
        ratios = [result.ratio(name, "hand") for result in results]
        panel.plot([result.setting.layers for result in results], ratios, marker=".", label=name)
    panel.axhline(1.0, color="black", linewidth=0.8)


def _fit_seconds(setting: Setting, task: Any, epochs: int, clock: Callable[[], float]) -> float:
    graph = graph_of(attrs.evolve(setting, epochs=epochs))
    start = clock()
    graph.fit(task, seed=1)
    return clock() - start


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Seconds per epoch against hand-written loops.")
    parser.add_argument("--quick", action="store_true", help="three settings, nothing written")
    parser.add_argument("--layers", type=int, nargs="+", choices=LAYERS, default=LAYERS)
    parser.add_argument("--widths", type=int, nargs="+", choices=WIDTHS, default=WIDTHS)
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=OPTIMIZERS)
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs in a row")
    parser.add_argument("--repeats", type=int, default=3, help="how often to start afresh")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="what is measured")
    parser.add_argument("--validation", nargs="?", default="", const="rmse", choices=METRICS)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, help="some contestants")
    parser.add_argument("--out", help="folder of the results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
