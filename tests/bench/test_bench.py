from __future__ import annotations

import argparse
import importlib.util
import itertools
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from threading import get_ident
from time import perf_counter

import attrs
import numpy as np
import pytest
import torch

from bench import data, gpu, import_time, quality, runtime, validated
from bench.contestants import Setting
from bench.relay import interleaved
from bench.table import verdict
from mlgraph import datasets, materialize

BENCH = Path(runtime.__file__).parent
TINY = Setting(layers=2, width=4, optimizer="adamw", rows=40, features=3, batch=16)


def result(mlgraph: float) -> runtime.Result:
    return runtime.Result(
        TINY, {"hand": [1.0, 4.0], "loader": [2.0, 8.0], "mlgraph": [mlgraph] * 2}
    )


def script(name: str, *options: str) -> str:
    command = [sys.executable, str(BENCH / name), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# Turns


def test_runners_do_one_epoch_each_in_turn():
    order: list[str] = []

    def train(name):
        def run(tick):
            for _ in range(3):
                order.append(name)
                tick(0.0)

        return run

    runners = interleaved({name: train(name) for name in "abc"}, perf_counter)
    assert "".join(order) == "abcabcabc"
    assert [len(runner.seconds) for runner in runners.values()] == [3, 3, 3]


def test_a_runner_is_not_charged_for_the_time_of_the_others():
    now = [0.0]

    def train(seconds):
        def run(tick):
            for _ in range(2):
                now[0] += seconds
                tick(0.0)

        return run

    runners = interleaved({"fast": train(1.0), "slow": train(100.0)}, lambda: now[0])
    assert runners["fast"].seconds == [1.0, 1.0]
    assert runners["slow"].seconds == [100.0, 100.0]


def test_a_runner_that_fails_lets_the_others_finish_and_is_reported():
    done = []

    def fails(tick):
        tick(0.0)
        raise ValueError("lost")

    def works(tick):
        for i in range(4):
            done.append(i)
            tick(0.0)

    with pytest.raises(ValueError, match="lost"):
        interleaved({"fails": fails, "works": works}, perf_counter)
    assert done == [0, 1, 2, 3]


# Run time


def test_mlgraph_does_the_same_training_as_the_loops_by_hand():
    names = ("hand", "mlgraph", "loader", "loader_fused")
    given = argparse.Namespace(epochs=2, repeats=1, clock="wall")
    found = runtime.measure(TINY, names, given)  # refuses losses that differ
    assert {name: len(seconds) for name, seconds in found.seconds.items()} == dict.fromkeys(
        names, 2
    )


@pytest.mark.parametrize("metric", runtime.METRICS)
def test_mlgraph_validates_and_remembers_what_the_loop_by_hand_does(metric):
    setting = attrs.evolve(TINY, metric=metric, valid_rows=30)
    given = argparse.Namespace(epochs=2, repeats=1, clock="wall")
    found = runtime.measure(setting, ("hand", "mlgraph"), given)  # refuses scores that differ
    assert {name: len(seconds) for name, seconds in found.seconds.items()} == {
        "hand": 2,
        "mlgraph": 2,
    }


def test_a_score_that_is_left_out_or_another_is_refused(monkeypatch):
    setting = attrs.evolve(TINY, metric="rmse", valid_rows=30)
    other = attrs.evolve(setting, valid_rows=29)
    monkeypatch.setitem(
        validated.VALIDATED, "other", lambda _, tick: validated.by_hand(other, tick)
    )
    monkeypatch.setattr(validated.Setting, "valid_data", other_rows(validated.Setting.valid_data))
    with pytest.raises(AssertionError, match="disagree"):
        runtime.refuse_other_work(setting, ["hand", "other"])


def other_rows(real):
    return lambda setting: tuple(tensor[: setting.valid_rows] for tensor in real(setting))


def test_the_bar_is_drawn_in_the_time_of_mlgraph_and_the_screen_is_put_back(monkeypatch):
    written, drawn, before = [], [], sys.stdout
    monkeypatch.setattr(validated.Screen, "write", lambda self, text: written.append(text))
    monkeypatch.setattr(validated._Bar, "refresh", lambda self: drawn.append(get_ident()))
    monkeypatch.setattr(validated, "thread_time", itertools.count().__next__)
    setting = attrs.evolve(TINY, metric="rmse", valid_rows=30, epochs=3)
    with validated.rendering():
        assert sys.stdout.isatty()
        validated.with_mlgraph(setting, lambda loss: None)
    assert sys.stdout is before
    assert written and set(drawn) == {get_ident()} and len(drawn) >= 3


def test_contestants_that_do_other_work_are_refused(monkeypatch):
    def lazy(setting, tick):
        for _ in range(setting.epochs):
            tick(1.0)

    monkeypatch.setitem(runtime.CONTESTANTS, "lazy", lazy)
    with pytest.raises(AssertionError, match="disagree"):
        runtime.refuse_other_work(TINY, ["hand", "lazy"])


def test_contestants_begin_in_another_order_each_time():
    assert [runtime.rotated("abc", n) for n in (0, 1, 4)] == [[*"abc"], [*"bca"], [*"bca"]]


def test_a_ratio_is_taken_within_rounds():
    assert result(1.0).ratio("loader", "hand") == 2.0


def test_targets_are_missed_by_a_slow_loop_and_met_by_a_fast_one(capsys):
    shallow = runtime.Result(Setting(layers=0, width=4, optimizer="sgd"), result(1.0).seconds)
    deep = runtime.Result(Setting(layers=4, width=4, optimizer="sgd"), result(1.0).seconds)
    slow = runtime.Result(deep.setting, result(9.0).seconds)
    assert verdict(runtime.targets([shallow, deep]))
    assert not verdict(runtime.targets([shallow, slow]))
    assert "MISSED" in capsys.readouterr().out


def test_with_validation_there_is_one_target(capsys):
    fast, slow = (runtime.Result(TINY, result(x).seconds) for x in (1.0, 9.0))
    assert verdict(runtime.targets_validated([fast]))
    assert not verdict(runtime.targets_validated([fast, slow]))
    assert "1.1 of hand" in capsys.readouterr().out


def test_results_with_validation_do_not_replace_the_others(tmp_path):
    pytest.importorskip("matplotlib")
    found = runtime.Result(attrs.evolve(TINY, metric="rmse"), result(1.0).seconds)
    runtime.write([found], tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"runtime_rmse.csv", "runtime_rmse.png"}


def test_results_become_a_table_and_a_figure(tmp_path):
    pytest.importorskip("matplotlib")
    runtime.write([result(1.0)], tmp_path)
    lines = (tmp_path / "runtime.csv").read_text().splitlines()
    assert lines[1] == "adamw,4,2,hand,2.500000,1.000000,2"
    assert (tmp_path / "runtime.png").stat().st_size > 1000


def test_the_grid_is_that_of_the_paper():
    assert len(runtime.full_grid()) == 30
    assert {(s.rows, s.features, s.batch) for s in runtime.full_grid()} == {(2000, 1000, 32)}


@pytest.mark.slow
def test_the_benchmark_of_run_time_runs():
    printed = script("runtime.py", "--quick", "--epochs", "1", "--repeats", "1")
    assert "geometric mean" in printed
    assert ("lightning" in printed) == bool(importlib.util.find_spec("lightning"))


@pytest.mark.slow
def test_the_benchmark_of_run_time_with_validation_runs():
    printed = script("runtime.py", "--quick", "--validation", "--epochs", "1", "--repeats", "1")
    assert "at most 1.1 of hand" in printed
    assert ("skorch" in printed) == bool(importlib.util.find_spec("skorch"))


# GPU


def test_without_a_gpu_nothing_is_measured_and_that_is_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--out", str(tmp_path)]) == 0
    assert "was not run" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_grid_for_gpus_is_that_of_the_paper():
    grid = gpu.full_grid(gpu._parser().parse_args([]))
    assert {s.width for s in grid} == {1000, 3000, 9000}
    assert {s.layers for s in grid} == {0, 4, 8, 12, 16} and len(grid) == 30
    assert {(s.rows, s.features, s.batch, s.device) for s in grid} == {(2000, 1000, 32, "cuda")}


@pytest.mark.slow
def test_compiled_contestants_do_the_same_training(monkeypatch):
    given = gpu._parser().parse_args(["--device", "cpu", "--epochs", "1", "--repeats", "1"])
    found = gpu.relayed(TINY, given)  # refuses losses that differ
    assert set(found.seconds) == set(gpu.NAMES)


# Quality


def test_a_table_that_was_not_fetched_says_how_to_fetch_it(monkeypatch, tmp_path):
    monkeypatch.setenv("MLGRAPH_DATA", str(tmp_path))
    with pytest.raises(data.NotFetched, match=r"python bench/data.py adult"):
        data.adult()


@pytest.mark.parametrize("name", data.SETS)
def test_every_set_that_was_not_fetched_says_so(name, monkeypatch, tmp_path):
    monkeypatch.setenv("MLGRAPH_DATA", str(tmp_path))
    with pytest.raises(data.NotFetched, match=rf"python bench/data.py {name}"):
        data.path(name)


def test_what_is_there_is_not_fetched_again(monkeypatch, tmp_path):
    monkeypatch.setenv("MLGRAPH_DATA", str(tmp_path))
    (tmp_path / data.SETS["emoji"].path).mkdir()
    monkeypatch.setattr(data, "_run", lambda *command, **_: pytest.fail(str(command)))
    assert data.fetch("emoji") == tmp_path


def test_a_fetch_that_fails_leaves_nothing_behind(monkeypatch, tmp_path):
    def fails(*command, at):
        Path(at, "half.tgz").write_bytes(b"")
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setenv("MLGRAPH_DATA", str(tmp_path))
    monkeypatch.setattr(data, "_run", fails)
    with pytest.raises(subprocess.CalledProcessError):
        data.fetch("emoji")
    assert list(tmp_path.iterdir()) == []


def test_what_only_changes_the_look_of_an_emoji_is_not_part_of_its_base():
    of_one = ["1F469-200D-1F692", "1F469-1F3FD-200D-1F692", "1F469", "1F469-1F3FB"]
    assert {data._base(code) for code in of_one} == {"1F469"}
    flags = ["1F1EA-1F1EC", "1F1EA-1F1F8"]
    assert len({data._base(code) for code in flags}) == 2


def fetched(make):
    try:
        return make()
    except data.NotFetched as error:
        pytest.skip(str(error))


def test_the_clothing_is_complete():
    parts = datasets.by_split(fetched(data.fashion_mnist))
    assert {name: len(part) for name, part in parts.items()} == {"train": 60000, "test": 10000}
    assert set(np.bincount(parts["test"].target_codes())) == {1000}


def test_emoji_are_pictures_on_white_with_names_and_without_what_gives_them_away():
    task = fetched(data.emoji)
    assert task.features == ("image", "name", "added") and len(task) == 1906
    assert len(task.classes) == 9 and task.roles["group"] == ("base",)
    image = materialize(task.lazy("image").take([0, 500]), stacked=True)
    assert image.shape == (2, 3, 64, 64) and image.dtype == torch.uint8
    assert image[:, :, 0, 0].tolist() == [[255, 255, 255]] * 2
    assert all(name == name.lower() for name in task.column("name").to_pylist())


def test_skin_tones_are_rows_of_the_same_group():
    task = fetched(lambda: data.emoji(skin_tones=True))
    plain = data.emoji()
    assert len(task) > len(plain)
    assert set(task.column("base").to_pylist()) == set(plain.column("base").to_pylist())


def test_the_weights_are_those_their_name_promises():
    path = fetched(lambda: data.path("efficientnet_lite0"))
    assert sha256(path.read_bytes()).hexdigest().startswith(path.stem.split("-")[-1])


def test_missing_tables_count_as_a_missed_target(monkeypatch, tmp_path):
    monkeypatch.setenv("MLGRAPH_DATA", str(tmp_path))
    (target,) = quality.compare_tables()
    assert target[1] is False


def test_the_shortest_program_is_compared_with_a_linear_model(capsys):
    short = quality.Chain("iris", epochs=1)
    ((text, met),) = quality.compare_chains([short], folds=2)
    assert text.startswith("iris: accuracy") and met in (True, False)
    assert "scikit-learn" in capsys.readouterr().out


@pytest.mark.parametrize("make", [quality.adult_network, quality.california_network])
def test_the_networks_of_the_larger_tables_can_be_built(make):
    assert "torch_model" in make().ids


@pytest.mark.slow
def test_the_benchmark_of_quality_meets_its_targets():
    assert "MISSED" not in script("quality.py", "--quick")


@pytest.mark.slow
def test_the_networks_reach_what_is_known_to_be_reachable():
    try:
        data.path("adult"), data.path("california")
    except data.NotFetched as error:
        pytest.skip(str(error))
    assert all(met for _, met in quality.compare_tables())


# Import and building


def test_what_an_import_loads_is_listed_without_the_standard_library():
    assert import_time.packages("attrs") >= {"attr", "attrs"}
    assert import_time.packages("json") == set()


def test_both_ways_of_building_give_the_same_chain():
    assert import_time.build(20) == import_time.build_by_hand(20)


def test_a_chain_of_two_thousand_layers_is_built():
    assert len(import_time.build(2000)) == 2000


@pytest.mark.slow
def test_the_benchmark_of_the_import_runs():
    assert "no heavy package is loaded: none" in script("import_time.py", "--quick")
