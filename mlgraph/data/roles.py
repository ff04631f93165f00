"""Which column plays which part in a task."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from mlgraph.errors import ConfigError, DataError, UnknownColumnError, did_you_mean, listing

ROLES = ("feature", "target", "weight", "group", "stratum", "order", "name")
SINGLE = ("weight", "group", "name")

Roles: TypeAlias = Mapping[str, tuple[str, ...]]
Names: TypeAlias = "str | Iterable[str] | None"


def assign(names: Collection[str], given: Mapping[str, Names]) -> dict[str, tuple[str, ...]]:
    """Roles of columns; columns that are given no other role are features.

    >>> assign(["a", "b", "y"], {"target": "y"})["feature"]
    ('a', 'b')
    """
    roles = {role: checked(role, given.get(role), names) for role in ROLES[1:]}
    taken = {name for columns in roles.values() for name in columns}
    features = tuple(name for name in names if name not in taken)
    return {"feature": features, **roles}


def reassign(
    roles: Roles, names: Collection[str], given: Mapping[str, Names]
) -> dict[str, tuple[str, ...]]:
    """Roles with some of them given anew; a column with another role stops being a feature.

    Raises:
        ConfigError: There is no such role, or it cannot be given this way.
        UnknownColumnError: There is no such column.

    >>> reassign(assign(["a", "b"], {}), ["a", "b"], {"weight": "b"})["feature"]
    ('a',)
    """
    for role in given:
        _check_role(role)
    changed = {role: checked(role, columns, names) for role, columns in given.items()}
    new = {role: changed.get(role, roles[role]) for role in ROLES}
    taken = {name for role in ROLES[1:] for name in new[role]}
    clash = [name for name in changed.get("feature", ()) if name in taken]
    if clash:
        raise DataError(
            f"Column {clash[0]!r} cannot be a feature.",
            why="it has another role",
            mend="Give that role to another column, or to None, in the same call.",
        )
    new["feature"] = tuple(name for name in new["feature"] if name not in taken)
    return new


def checked(role: str, given: Names, known: Collection[str]) -> tuple[str, ...]:
    """The columns of a role as a tuple of known names.

    >>> checked("weight", "w", ["w", "y"])
    ('w',)
    """
    names = () if given is None else (given,) if isinstance(given, str) else _tuple(role, given)
    for name in names:
        if name not in known:
            raise unknown_column(name, known, role)
    if role in SINGLE and len(names) > 1:
        raise DataError(
            f"The role {role!r} has one column, not {len(names)}.",
            why=f"given: {listing(names)}",
        )
    return tuple(dict.fromkeys(names))


def unknown_column(name: object, known: Iterable[str], role: str = "") -> UnknownColumnError:
    """The error that says which columns there are.

    >>> print(unknown_column("agee", ["age", "size"]))
    No column is called 'agee'.
      why:   the columns are 'age', 'size'
      mend:  Did you mean 'age'?
    """
    words = list(known)
    return UnknownColumnError(
        f"No column is called {name!r}.",
        where=f"role {role!r}" if role else "",
        why=f"the columns are {listing(words)}" if words else "there are no columns",
        mend=did_you_mean(name, words),
    )


def refuse_added(roles: Roles, given: Roles, which: Iterable[str]) -> None:
    """Refuse columns that have one of these roles where no column is known to have it.

    Raises:
        DataError: Names the first of them: it would be lost.

    >>> refuse_added({"weight": ("w",)}, {"weight": ("v",)}, ["weight"])
    """
    for role in (role for role in which if given.get(role) and not roles[role]):
        name = given[role][0]
        raise DataError(
            f"Column {name!r} would be lost.",
            where=f"column {name!r}",
            why=f"its role is {role!r}, and the task that it is to be like has none",
            mend="leave it out, or fit a task that has one",
        )


def refuse_lost(roles: Roles, names: Collection[str]) -> None:
    """Refuse to learn from columns with these names, if one that has a role is not among them.

    Raises:
        DataError: Names the first that is missing.

    >>> refuse_lost({"weight": ("w",)}, ["w", "y"])
    """
    named = {name: role for role, columns in roles.items() for name in columns}
    for name in (name for name in named if name not in names):
        raise DataError(
            f"Column {name!r} is missing.",
            where=f"column {name!r}",
            why=f"it has the role {named[name]!r} in the task that was fitted",
            mend="add it: what is learned depends on it",
        )


def renamed(roles: Roles, new: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The roles after columns were renamed.

    >>> renamed({"feature": ("a", "b")}, {"a": "c"})
    {'feature': ('c', 'b')}
    """
    return {role: tuple(new.get(name, name) for name in names) for role, names in roles.items()}


def _tuple(role: str, given: Iterable[str]) -> tuple[str, ...]:
    try:
        names = tuple(given)
    except TypeError:
        names = (given,)  # type: ignore[assignment]
    if any(not isinstance(name, str) for name in names):
        raise DataError(
            f"The role {role!r} is given by the name of a column.",
            why=f"{type(given).__name__} arrived",
            mend='Pass values together with the table: Task((X, y)), or Task({..., "y": y}, "y").',
        )
    return names


def _check_role(role: str) -> None:
    if role == "target":
        raise ConfigError(
            "The target is not given as a role.", mend='Use task.with_target("name").'
        )
    if role not in ROLES:
        raise ConfigError(
            f"There is no role {role!r}.",
            why=f"the roles are {listing(ROLES)}",
            mend=did_you_mean(role, ROLES),
        )
