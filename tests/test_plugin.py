"""A package of somebody else's is found through its entry point, and its node is a full citizen."""

import subprocess
import sys
from pathlib import Path

PLUGIN = Path(__file__).parent / "plugin"


def run(code, *paths):
    program = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_a_layer_of_another_package_trains_in_a_graph():
    code = """
from mlgraph import Task, nn, po
from mlgraph.catalogue import catalogue
task = Task({"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 1.0, 0.0, 1.0]}, target="y")
graph = nn("linear", out_features=4) >> nn("sine", omega=2) >> nn("head") >> po(
    "torch_model", epochs=2, progress=False
)
print(len(graph.fit(task, seed=1).predict(task)), catalogue().offers["nn_sine"].provider)
"""
    done = run(code, PLUGIN)
    assert done.stdout.split() == ["4", "mlgraph-wave"], done.stderr


def test_a_wrong_parameter_of_it_gets_the_same_errors():
    done = run('from mlgraph import nn\nnn("sine", omga=1)', PLUGIN)
    assert "nn(\"sine\") has no parameter 'omga'" in done.stderr
    assert "Did you mean 'omega'?" in done.stderr


def test_a_recipe_of_another_package_trains_by_its_name():
    code = """
from mlgraph import Task, recipe, recipes, tune
task = Task({"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 1.0, 0.0, 1.0]}, target="y")
graph = recipe("siren", task, n_blocks=1, epochs=2, progress=False)
print(len(graph.fit(task, seed=1).predict(task)), "siren" in recipes()["key"].to_pylist())
print(*recipe("siren", task, d_block=tune(8, 64)).search_space())
"""
    done = run(code, PLUGIN)
    assert done.stdout.split() == ["4", "True", "block__linear__out_features"], done.stderr


def test_a_broken_package_takes_nothing_else_down_and_is_named(tmp_path):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlgraph.nodes]\nbroken = broken_nodes\n")
    (tmp_path / "broken_nodes.py").write_text("import a_package_that_is_not_there\n")
    code = 'from mlgraph import po\npo("scale")\npo("nn_wavelet")'
    done = run(code, tmp_path)
    assert "No node is called 'nn_wavelet'" in done.stderr
    assert "broken could not be loaded (ModuleNotFoundError" in done.stderr


KINDS = """
from mlgraph import Callback
from mlgraph.data.kinds import Regression

class Counts(Regression):
    pass

class Tick(Callback):
    pass
"""


def installed(folder, code):
    """A package with an entry point, as ``pip`` would leave it."""
    info = folder / "ticks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ticks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlgraph.nodes]\nticks = ticks_nodes\n")
    (folder / "ticks_nodes.py").write_text(code)
    return folder


def test_kinds_and_callbacks_are_found_whatever_comes_first(tmp_path):
    data = '{"a": [1.0, 2.0], "y": [1, 2]}'
    code = f'from mlgraph import Task\nprint(Task({data}, target="y", kind="counts").kind)'
    assert run(code, installed(tmp_path, KINDS)).stdout.split() == ["counts"]
    done = run('from mlgraph import callback\nprint(callback("tick"))', tmp_path)
    assert done.stdout.split() == ['callback("tick")'], done.stderr


def test_what_a_broken_package_would_have_offered_is_said_everywhere(tmp_path):
    installed(tmp_path, KINDS + "\nimport a_package_that_is_not_there\n")
    for use in ('callback("tack")', 'sampler("tack")', 'Task({"y": [1]}, "y", kind="tack")'):
        done = run(f"from mlgraph import Task, callback, sampler\n{use}", tmp_path)
        assert "ticks could not be loaded (ModuleNotFoundError" in done.stderr, use
