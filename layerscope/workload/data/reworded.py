"""A data set and a prompt's template in, the same samples under that template out."""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Iterator, Sequence

from layerscope.core.errors import DataError, UsageError
from layerscope.workload.data.prompts import OPTIONS, OPTIONS_ONLY
from layerscope.workload.data.sample import Sample, SampleSource


class RewordedSource:
    """Samples whose prompt is the user's template, with the data set's own parts in it."""

    def __init__(self, inner: SampleSource, template: str) -> None:
        """Raises UsageError for a template that names what the data set does not have."""
        own = inner.prompt
        if own is None:
            raise UsageError(f"--prompt has no meaning with --dataset {inner.name}, without text.")
        _check(template, _fields(own), inner.name)
        self.name, self.synthetic, self.prompt = inner.name, inner.synthetic, template
        self._inner = inner
        self._own = [_pattern(own)]
        if own == OPTIONS:  # a row without a context has a shorter one
            self._own.append(_pattern(OPTIONS_ONLY))

    @property
    def source(self) -> str:
        """Where the samples come from, in words."""
        return self._inner.source

    @property
    def revision(self) -> str | None:
        """The hub commit of the samples."""
        return self._inner.revision

    @property
    def skipped(self) -> Sequence[str]:
        """Broken samples so far."""
        return self._inner.skipped

    def samples(self, count: int) -> Iterator[Sample]:
        """Up to `count` good samples, reworded."""
        for sample in self._inner.samples(count):
            yield dataclasses.replace(sample, prompt=self._reworded(sample))

    def _reworded(self, sample: Sample) -> str:
        found = next(filter(None, (own.fullmatch(sample.prompt) for own in self._own)), None)
        if found is None:
            raise DataError(f"{sample.sample_id}: its prompt is not of the form {self.prompt!r}.")
        parts = dict.fromkeys(_fields(self.prompt), "") | found.groupdict()
        return self.prompt.format(**parts)


def _fields(template: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def _check(template: str, known: Sequence[str], dataset: str) -> None:
    try:
        asked = _fields(template)
        template.format(**dict.fromkeys(known, ""))
    except (KeyError, IndexError, ValueError, AttributeError):
        asked = [""]
    if not template.strip() or not set(asked) <= set(known):
        have = ", ".join(f"{{{name}}}" for name in known) or "no part to fill in"
        raise UsageError(f"--prompt {template!r}: {dataset} has {have}; other braces are doubled.")


def _pattern(template: str) -> re.Pattern[str]:
    """The template as a pattern that gives its parts back; each as short as the next words allow."""
    pieces = []
    for literal, name, _, _ in string.Formatter().parse(template):
        pieces.append(re.escape(literal))
        if name is not None:
            pieces.append(f"(?P<{name}>.*?)")
    return re.compile("".join(pieces), re.DOTALL)
