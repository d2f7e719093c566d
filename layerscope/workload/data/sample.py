"""What a data set hands to the batcher: `Sample`, and `SampleSource`, which yields them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One question about one image.

    Attributes:
        sample_id: names the sample in records and messages.
        image: RGB; None only for `synthetic-random`, whose pixels the batcher draws.
        prompt: the text both tokenizers read.
        references: accepted answers, the most likely first; empty where no answer exists.
        letter_reference: the right option's letter, lower case, for lettered questions.
        text_reference: the right option's text, for lettered questions.
    """

    sample_id: str
    image: Image | None
    prompt: str
    references: tuple[str, ...]
    letter_reference: str | None = None
    text_reference: str | None = None


class SampleSource(Protocol):
    """Samples of one data set, in an order that never changes."""

    @property
    def name(self) -> str:
        """The data set's name on the command line."""

    @property
    def synthetic(self) -> bool:
        """Whether layerscope made the samples itself."""

    @property
    def source(self) -> str:
        """Where the samples come from, in words."""

    @property
    def prompt(self) -> str | None:
        """The prompt's template; None where there is no text."""

    @property
    def revision(self) -> str | None:
        """The hub commit the samples were read at; None for local files and synthetic data."""

    @property
    def skipped(self) -> Sequence[str]:
        """`"<sample id>: <reason>"` for each broken sample met so far."""

    def samples(self, count: int) -> Iterator[Sample]:
        """Up to `count` good samples from the first on; fewer where the data set ends.

        Raises:
            DataError: the data cannot be read, or too many samples are broken.
            EnvironmentProblem: the hub cannot be reached.
        """
