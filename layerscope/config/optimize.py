"""`optimize` and the older options in; settings that agree, or one line that says why not, out.

`optimization`, `attention`, `fp32_matmul` and `coordinate_descent_tuning` hold what they can
say, so that files and tables keep their fields; `RunConfig.optimize` holds every name.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from layerscope.core.errors import UsageError
from layerscope.core.remedy import (
    EAGER,
    Remedy,
    canonical,
    closed,
    remedies,
    spelled,
    without_alias,
)
from layerscope.core.run_config import RunConfig
from layerscope.core.words import did_you_mean, listed

KEY = "optimize"
# Either says that there is none.
_NOTHING = (EAGER, "none")


def with_optimizations(said: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings with the older options filled in by `optimize`; without it they stay as they are.

    Args:
        said: field -> value, as the user gave it; `optimize` may be a list.

    Raises:
        UsageError: an unknown name, names that do not go together, or an older option that says
            otherwise.
    """
    if KEY not in said:
        return dict(said)
    asked = asked_names(said[KEY], where)
    others = {key: value for key, value in said.items() if key != KEY}
    older = [name for name, remedy in remedies().items() if _alias_said(remedy, others)]
    if not asked:
        for name in older:
            raise _contradiction(EAGER, *_alias_said(remedies()[name], others)[0], where)
        return others
    names = closed({*asked, *older})
    refuse_combination(names, where)
    filled = dict(others)
    carried_by_older = closed(older)
    for name in names:
        if name not in carried_by_older:
            _carry(remedies()[name], names, others, filled, where)
    return filled | {KEY: canonical(names)}


def asked_names(given: object, where: str) -> tuple[str, ...]:
    """The names in what the user gave, each once; none for `eager`.

    Raises:
        UsageError: no text and no list of texts, or a name that is none.
    """
    words = given.split(",") if isinstance(given, str) else given
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise UsageError(
            f"{where}: `{KEY}` is {given!r}: names joined by commas were expected, such as "
            f"{','.join(list(remedies())[:2])}."
        )
    names = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    known = tuple(remedies())
    if not names:
        raise UsageError(
            f"{where}: `{KEY}` names nothing; there are {', '.join(known)}, and {EAGER} for none."
        )
    for name in names:
        if name not in known and name not in _NOTHING:
            raise UsageError(f"{where}: `{KEY}` has no {name!r}; {_hint(name, known)}")
    nothing = [name for name in names if name in _NOTHING]
    some = [name for name in names if name not in _NOTHING]
    if nothing and some:
        raise UsageError(
            f"{where}: `{KEY}` has {nothing[0]} and {some[0]}: {nothing[0]} is a run without any "
            "optimization; leave one out."
        )
    return tuple(some)


def in_one_order(given: object) -> object:
    """A text of names as `RunConfig.optimize` has it, whether each is known or not; else what it was."""
    if not isinstance(given, str):
        return given
    words = {word.strip() for word in given.split(",")} - {""}
    if words & set(_NOTHING):
        return EAGER if words <= set(_NOTHING) else given
    return canonical(words) if words else given


def refuse_combination(names: Iterable[str], where: str) -> None:
    """Refuse names that do not go together.

    Raises:
        UsageError: naming both and why.
    """
    known = remedies()
    chosen = tuple(names)
    for name in chosen:
        needs = known[name].needs
        if needs and not set(needs) & set(chosen):
            raise UsageError(
                f"{where}: `{KEY}` has {name}, which {known[name].needs_because or 'needs more'}; "
                f"add {' or '.join(_that_bring(needs))}."
            )
    for one, other in itertools.combinations(sorted(chosen), 2):
        why = known[one].contradicts.get(other) or known[other].contradicts.get(one)
        if why is None and not _known_pair(known[one], known[other]):
            why = "nobody has tried them together"
        if why is not None:
            raise UsageError(
                f"{where}: `{KEY}`: {one} and {other} cannot go together: {why}; leave one out."
            )


def without(config: RunConfig, names: Iterable[str]) -> RunConfig:
    """The same run without these optimizations, and without those that are nothing without them."""
    known, gone = remedies(), set(names)
    while more := {
        name
        for name in config.optimizations
        if name not in gone
        and name in known
        and (gone & {*known[name].includes, *known[name].needs})
    }:
        gone |= more
    kept = [name for name in config.optimizations if name not in gone]
    default = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    changed: dict[str, Any] = {}
    for name in gone & known.keys():
        for field, value in known[name].aliases:
            if getattr(config, field) == value:
                changed[field] = default[field]
    for name in known.keys() & set(kept):
        # One whose option held what included it.
        aliases = known[name].aliases
        if aliases and not any(
            changed.get(field, getattr(config, field)) == value for field, value in aliases
        ):
            changed |= [aliases[0]]
    return dataclasses.replace(config, **changed, optimize=canonical(kept))


def spelling_of(config: RunConfig, name: str) -> str:
    """The option by which a run asks for an optimization, or for what it is part of."""
    known = remedies()
    for other in (name, *(n for n in config.optimizations if name in closed([n]))):
        for field, value in known[other].aliases if other in known else ():
            if getattr(config, field) == value:
                return spelled(field, value)
    return f"--{KEY} {name}"


def beside_fields(config: RunConfig) -> tuple[str, ...]:
    """The optimizations of a run that no other field of its configuration says."""
    return without_alias(config.optimizations)


def _alias_said(remedy: Remedy, settings: Mapping[str, Any]) -> list[tuple[str, str | bool]]:
    return [
        (field, value)
        for field, value in remedy.aliases
        if field in settings and settings[field] == value
    ]


def _carry(
    remedy: Remedy,
    names: tuple[str, ...],
    others: Mapping[str, Any],
    filled: dict[str, Any],
    where: str,
) -> None:
    """Set the older option that says this remedy, the first that is free; a remedy may have none."""
    known = remedies()
    for field, value in remedy.aliases:
        taken = filled.get(field)
        # What holds a remedy that is part of this one may say this one instead.
        parts = {known[name].aliases for name in closed([remedy.name]) if name != remedy.name}
        if taken is None or taken == value or any((field, taken) in part for part in parts):
            filled[field] = value
            return
    for field, _ in remedy.aliases[:1]:
        if field in others:
            raise _contradiction(remedy.name, field, others[field], where)
        taken_by = next(n for n in names if (field, filled[field]) in known[n].aliases)
        raise UsageError(
            f"{where}: `{KEY}`: {remedy.name} and {taken_by} cannot go together: both are "
            f"`{field}`, which is one of them; leave one out."
        )


def _contradiction(name: str, field: str, value: object, where: str) -> UsageError:
    return UsageError(
        f"{where}: `{KEY}` has {name} and `{field}` is {value}: they contradict each other; leave "
        "one out."
    )


def _known_pair(one: Remedy, other: Remedy) -> bool:
    return (
        other.name in (*one.goes_with, *one.includes, *one.needs)
        or one.name in (*other.goes_with, *other.includes, *other.needs)
    )  # fmt: skip


def _that_bring(needs: Iterable[str]) -> list[str]:
    """These remedies and those that include one of them."""
    wanted = set(needs)
    return [name for name in remedies() if wanted & set(closed([name]))]


def _hint(name: str, known: tuple[str, ...]) -> str:
    """The nearest name, or the name for what an older option calls so."""
    older = {
        word: remedy.name
        for remedy in remedies().values()
        for field, value in remedy.aliases
        for word in ((field,) if value is True else (str(value), f"{field}={value}"))
    }
    said = name.strip("-").replace("-", "_")
    if said in older:
        return f"did you mean `{older[said]}`?"
    return did_you_mean(name.lower(), known, f"there are {listed(known)}.")
