"""`Remedy`: what could help a run, as a reader knows it; and all of them, found by their files.

Each stands in a file of its own in `layerscope/remedies`; the file of the same name in
`layerscope/optimizations` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from layerscope.core.listing import declared_in

if TYPE_CHECKING:
    from layerscope.findings.evidence import Evidence
    from layerscope.records.finding import Saving

REMEDIES = "layerscope.remedies"
# What a run without any optimization is called.
EAGER = "eager"


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One optimization, as far as it can be known without running anything.

    Attributes:
        name: as `--optimize` takes it; the file's own name, with - for _.
        does: what it does, in a few words.
        helps: the rules of the findings it can help with.
        snippet: lines of torch and transformers that do the same without layerscope. `model` is the
            model, `inputs` are those of `generate()`.
        torch: the same in torch's or transformers' own words, in one line.
        predict: what it could save in a run that does without it: a bound from the run's account, or
            nothing with the reason.
        aliases: (field of `RunConfig`, value) of the options that say the same; of several, the first
            that is free is set.
        includes: remedies that are part of this one.
        needs: it makes sense only with one of these.
        needs_because: why, to stand after its name.
        goes_with: remedies it was tried with. A pair is known where either names the other.
        contradicts: a remedy that it cannot go with -> why.
    """

    name: str
    does: str
    helps: tuple[str, ...]
    snippet: str
    predict: Callable[[Evidence], Saving]
    aliases: tuple[tuple[str, str | bool], ...] = ()
    includes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    needs_because: str = ""
    goes_with: tuple[str, ...] = ()
    contradicts: Mapping[str, str] = field(default_factory=dict)
    torch: str = ""

    @property
    def option(self) -> str:
        """How it is asked for on the command line."""
        return spelled(*self.aliases[0]) if self.aliases else f"--optimize {self.name}"

    def said_by(self, settings: object) -> bool:
        """Whether one of its aliases holds in a record of settings."""
        return any(getattr(settings, name, None) == value for name, value in self.aliases)


def spelled(field_name: str, value: str | bool) -> str:
    """A field of `RunConfig` with a value, as the option that gives it: `--fp32-matmul high`."""
    flag = f"--{field_name.replace('_', '-')}"
    return flag if value is True else f"{flag} {value}"


@cache
def remedies() -> Mapping[str, Remedy]:
    """Name -> remedy, by name.

    Raises:
        TypeError: a file in the folder declares none, or one of another name.
    """
    found: dict[str, Remedy] = {}
    for module, remedy in declared_in(REMEDIES, "REMEDY").items():
        if remedy.name != module.replace("_", "-"):
            raise TypeError(f"{REMEDIES}.{module}: declares {remedy.name!r}.")
        found[remedy.name] = remedy
    return found


def closed(names: Iterable[str]) -> tuple[str, ...]:
    """Names with all that they include, what is included first, else by name; unknown ones stay."""
    known, found = remedies(), dict[str, None]()

    def add(name: str) -> None:
        if name not in found:
            for part in known[name].includes if name in known else ():
                add(part)
            found[name] = None

    for name in sorted(names):
        add(name)
    return tuple(found)


def words_of(text: str) -> tuple[str, ...]:
    """The names in a text as `RunConfig.optimize` holds it; none for an eager run."""
    return tuple(word for word in text.split(",") if word and word != EAGER)


def canonical(names: Iterable[str]) -> str:
    """The one text for a set of names, whatever their order: by name, joined by commas."""
    return ",".join(sorted(set(names))) or EAGER


def said_by_fields(settings: object) -> tuple[str, ...]:
    """The names that the older options of a run's settings say, with all that they include."""
    return closed(name for name, remedy in remedies().items() if remedy.said_by(settings))


def without_alias(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that no option but `optimize` can say; names that are not known here too."""
    known = remedies()
    return tuple(name for name in names if name not in known or not known[name].aliases)


def reconciled(optimize: str, settings: object) -> str:
    """The text for `RunConfig.optimize`, given the older options beside it.

    Args:
        optimize: `eager` where it was left out: then the older options say everything.

    Raises:
        ValueError: both say something, and not the same.
    """
    own, said = words_of(optimize), said_by_fields(settings)
    if not own:
        return canonical(said)
    alone = without_alias(own)
    if set(own) - set(alone) != set(said) - set(without_alias(said)):
        raise ValueError(
            f"optimize is {optimize}, and the options beside it say {canonical(said)}; resolve() and "
            "without() in layerscope.config keep them together"
        )
    return canonical(own)
