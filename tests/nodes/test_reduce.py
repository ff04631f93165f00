from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlgraph.data.task import Task
from mlgraph.errors import DataError
from mlgraph_nodes.reduce import CollapseFactors, FixFactors, Pca, RemoveConstants


def factor(values, levels, ordered=False):
    return pd.Categorical(values, levels, ordered)


def run(node, **columns):
    task = Task(columns)
    return node.as_graph().fit(task).predict(task)


def kept(values, **options):
    return run(RemoveConstants(**options), a=values, z=[*range(len(values))]).features == ("a", "z")


def test_constants_of_every_type_go():
    found = run(
        RemoveConstants(),
        a=[1.0, 1.0],
        b=[True, True],
        c=["u", "u"],
        d=factor(["u", "u"], ["u", "v"]),
        e=pa.array([None, None], pa.float64()),
        f=[1, 2],
    )
    assert found.features == ("f",)


def test_missing_values_do_not_count_unless_asked():
    assert not kept([1.0, None, 1.0])
    assert kept([1.0, None, 1.0], na_ignore=False)


def test_a_share_may_differ():
    assert kept([1, 1, 1, 2])
    assert not kept([1, 1, 1, 2], ratio=0.25)


def test_numbers_are_equal_within_either_tolerance():
    assert not kept([1e10, 1e10 + 1])
    assert kept([1e10, 1e10 + 1], rel_tol=0)
    assert kept([0.0, 1e-7])
    assert not kept([0.0, 1e-7], abs_tol=1e-6)


def test_infinite_values_are_values_of_their_own():
    assert kept([np.inf, 1.0])
    assert not kept([np.inf, np.inf])


def test_integers_at_the_limits_of_the_type_differ():
    assert kept([-(2**63), 2**63 - 1])


def test_huge_floats_of_both_signs_differ():
    assert kept([-1.7e308, 1.7e308])


def test_new_data_keep_the_columns_of_the_fit():
    fitted = RemoveConstants().as_graph().fit(Task({"a": [1, 2], "b": [1, 1]}))
    assert fitted.predict({"a": [5, 5], "b": [1, 2]}).features == ("a",)


def test_rare_levels_join_the_rarest_kept_one():
    found = run(CollapseFactors(), a=factor([*"uuuvvwx"], [*"uvwx"]))
    assert found.column("a").to_pylist() == [*"uuuvvvv"]
    assert found.levels("a") == ("u", "v")


def test_frequent_levels_are_kept_by_prevalence_and_count():
    values = factor([*"uuuvvvww"], [*"uvw"])
    assert run(CollapseFactors(target_level_count=1), a=values).levels("a") == ("u",)
    by_share = CollapseFactors(target_level_count=1, no_collapse_above_prevalence=0.3)
    assert run(by_share, a=values).levels("a") == ("u", "v")
    by_count = CollapseFactors(target_level_count=1, no_collapse_above_absolute=1)
    assert run(by_count, a=values).levels("a") == ("u", "v", "w")


def test_ordered_levels_join_a_neighbour():
    values = factor([*"aabcccdeee"], [*"abcde"], ordered=True)
    found = run(CollapseFactors(), a=values)
    # d joins c or e, the first of equals; b joins a, which is rarer and then joins c, too
    assert found.levels("a") == ("c", "e")
    assert found.column("a").to_pylist() == [*"ccccccceee"]
    assert found.is_ordered("a")


def test_columns_with_few_levels_or_no_values_are_untouched():
    found = run(CollapseFactors(), a=factor(["u"], [*"uv"]), b=factor([None], [*"uvw"]))
    assert found.levels("a") == ("u", "v")
    assert found.levels("b") == ("u", "v", "w")


def test_levels_that_appear_later_stay_and_come_last():
    fitted = CollapseFactors().as_graph().fit(Task({"a": factor([*"uuvvw"], [*"uvw"])}))
    found = fitted.predict({"a": ["z", "w", "b"]})
    assert found.column("a").to_pylist() == ["z", "v", "b"]
    assert found.levels("a") == ("u", "v", "b", "z")


def test_fixed_levels_are_those_that_occurred():
    task = Task({"a": factor([*"uv"], [*"wuv"])})
    fitted = FixFactors().as_graph().fit(task)
    found = fitted.predict({"a": ["v", "w", "new"]})
    assert found.levels("a") == ("u", "v")
    assert found.column("a").to_pylist() == ["v", None, None]
    every = FixFactors(droplevels=False).as_graph().fit(task).predict({"a": ["w", "new"]})
    assert every.levels("a") == ("w", "u", "v")


def test_an_all_missing_category_ends_without_levels():
    found = run(FixFactors(), a=factor([None, None], ["u"]))
    assert found.levels("a") == ()
    assert found.column("a").to_pylist() == [None, None]


def test_components_agree_with_scikit_learn_up_to_sign():
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=(60, 4)) @ np.diag([4.0, 3.0, 2.0, 1.0])
    found = run(Pca(), **{f"x{i}": x[:, i] for i in range(4)})
    assert found.features == ("PC1", "PC2", "PC3", "PC4")
    np.testing.assert_allclose(np.abs(found.to_numpy()[0]), np.abs(PCA().fit_transform(x)))


def test_the_rank_is_at_most_what_there_is():
    assert run(Pca(rank=9), a=[1.0, 2.0, 4.0], b=[0.0, 1.0, 0.0]).features == ("PC1", "PC2")


def test_a_constant_column_does_not_spoil_scaled_components():
    found = run(Pca(scale=True, rank=1), a=[1.0, 2.0], b=[5.0, 5.0])
    np.testing.assert_allclose(found.to_numpy()[0], [[-1.0], [1.0]])


def test_missing_values_are_refused_by_column():
    with pytest.raises(DataError, match="missing values") as caught:
        run(Pca(), a=[1.0, 2.0], b=[None, 1.0])
    assert "'b'" in str(caught.value)
