"""A private name of a library in: its value; or, where a version has none, what is lost, in words."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.words import kind_and_first_line

# The series that all tests, or on a GPU all passes, ran with.
TORCH = ("2.11", "2.13", "2.14")
TRANSFORMERS = ("5.17", "5.24")


class NoSuchName(EnvironmentProblem):
    """A library has a private name no more.

    Attributes:
        name: the dotted name.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Feature:
    """What a user loses where a name is gone.

    Attributes:
        name: the feature, as in "ranges around layers".
        lost: what is lost without it and what remains.
    """

    name: str
    lost: str


def anything(_value: Any) -> str:
    """A probe for what only has to be there."""
    return ""


def is_function(value: Any) -> str:
    """A probe for what is called."""
    return "" if callable(value) else f"it is no function but a {type(value).__name__}"


def takes(*names: str) -> Callable[[Any], str]:
    """A probe for a function with these parameters, in this order, maybe with others between."""

    def probe(value: Any) -> str:
        known = [name for name in inspect.signature(value).parameters if name in names]
        return "" if known == list(names) else f"its signature is {inspect.signature(value)}"

    return probe


def is_of(*kinds: type) -> Callable[[Any], str]:
    """A probe for a value of one of these types."""

    def probe(value: Any) -> str:
        return "" if isinstance(value, kinds) else f"it is a {type(value).__name__}"

    return probe


@dataclass(frozen=True, kw_only=True)
class PrivateName:
    """One name, and all that layerscope knows of it.

    Attributes:
        module: where it is imported from.
        path: its attributes from there; the last may be one of instances only.
        what_for: what layerscope does with it.
        feature: what needs it.
        tried: series of the library that it was tried with.
        probe: the value in, "" out where it behaves as we need it, else why not. May raise.
        sample: makes an instance that must have the last attribute, where the class has it not.
        trial: `sample` or `probe` compiles something: for `layerscope doctor`, not for each run.
    """

    module: str
    path: str
    what_for: str
    feature: Feature
    tried: tuple[str, ...] = TORCH
    probe: Callable[[Any], str] = anything
    sample: Callable[[], object] | None = None
    trial: bool = False

    @property
    def name(self) -> str:
        """The dotted name."""
        return f"{self.module}.{self.path}"

    @property
    def attribute(self) -> str:
        """The last part of the name."""
        return self.path.rpartition(".")[2]

    @property
    def library(self) -> str:
        """The package that has it."""
        return self.module.partition(".")[0]

    @property
    def degrades(self) -> str:
        """What is lost without it and what remains."""
        return self.feature.lost

    def owner(self) -> Any:
        """The module, class or instance that holds the attribute.

        Raises:
            NoSuchName: this version has none.
        """
        try:
            return self.sample() if self.sample is not None else self._holder()
        except (ImportError, AttributeError):
            raise self.missing() from None

    def get(self) -> Any:
        """The value.

        Raises:
            NoSuchName: this version has none; it says what is lost.
        """
        owner = self.owner()
        try:
            return getattr(owner, self.attribute)
        except AttributeError:
            raise self.missing() from None

    def why_not(self) -> str:
        """ "" where the name is there and behaves as we need it; else why not, in one line."""
        try:
            return self.probe(self.get())
        except NoSuchName:
            return f"{self.library} {version_of(self.library)} has no such name"
        except Exception as error:  # what a changed private name raises is not ours to list
            return kind_and_first_line(error)

    def missing(self) -> NoSuchName:
        """The refusal of what needs this name."""
        return NoSuchName(
            self.name,
            f"{self.feature.name}: not with {self.library} {version_of(self.library)}, which has no "
            f"{self.name} (tried with {self.library} {', '.join(self.tried)}). {self.degrades}",
        )

    def _holder(self) -> Any:
        value = importlib.import_module(self.module)
        for part in self.path.split(".")[:-1]:
            value = getattr(value, part)
        return value


def require(names: Iterable[PrivateName]) -> None:
    """Look whether names are there before something that must not end half way begins.

    Raises:
        NoSuchName: the first that is not; it says what is lost.
    """
    for name in names:
        if not name.trial:
            name.get()


def version_of(library: str) -> str:
    """The installed version of a package."""
    if library == "torch":
        import torch

        return str(torch.__version__)  # with its build, which the metadata lack
    return importlib.metadata.version(library)
