from __future__ import annotations

import re
import subprocess
import sys

import pytest

import mlgraph
from mlgraph import cli


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlgraph", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_a_command_the_help_is_shown_and_the_status_says_so(capsys):
    assert cli.main([]) == 2
    assert "demo" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["demmo"])
    assert stopped.value.code == 2
    assert "demmo" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.strip() == mlgraph.__version__


def test_a_short_demo_shows_the_graph_with_shapes_and_both_accuracies(capsys):
    assert cli.main(["demo", "--epochs", "2"]) == 0
    shown = capsys.readouterr().out
    assert "(batch, 64) float32" in shown
    assert re.search(r"network +\d\.\d{3}\n +logistic regression +\d\.\d{3}\n", shown)


def test_the_demo_is_the_same_for_the_same_seed(capsys):
    assert cli.demo(seed=3, epochs=2) == cli.demo(seed=3, epochs=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_network_of_the_demo_is_good_whatever_the_seed(seed, capsys):
    assert cli.demo(seed=seed)["network"] >= 0.97


@pytest.mark.slow
def test_the_demo_runs_as_a_program():
    done = run("demo")
    assert done.returncode == 0, done.stderr
    accuracy = float(re.search(r"network +(\d\.\d+)", done.stdout)[1])
    assert accuracy >= 0.97
    assert "epoch 50/50" in done.stdout
