"""Rows of a public data set go in, good samples come out, broken ones are counted and named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from layerscope.core.errors import DataError
from layerscope.workload.data.images import decode
from layerscope.workload.data.layouts import Layout, Row
from layerscope.workload.data.rows import (
    folder_errors,
    folder_problem,
    hub_errors,
    hub_problem,
    resolve_revision,
    rows_in_folder,
    rows_on_hub,
)
from layerscope.workload.data.sample import Sample

# A data set with more broken samples than this says nothing about a model.
MAX_BROKEN_SHARE = 0.05


class RealSource:
    """COCO captions, ScienceQA or TextVQA, from the hub (streamed) or from a folder."""

    synthetic = False

    def __init__(
        self,
        layout: Layout,
        *,
        data_dir: str | None = None,
        answer_form: Literal["letter", "text"] = "text",
    ) -> None:
        self.name = layout.name
        self.prompt = layout.prompt
        self._layout = layout
        self._data_dir = data_dir
        self._answer_form = answer_form
        self._revision = layout.revision if data_dir is None else None
        self._skipped: list[str] = []

    @property
    def revision(self) -> str | None:
        """The hub commit; for a data set that is not pinned, known once samples were asked for."""
        return self._revision

    @property
    def source(self) -> str:
        """Where the samples come from, in words."""
        what = f"{self._layout.repo}, split {self._layout.split}"
        if self._data_dir is not None:
            return f"{what}, read from {self._data_dir}"
        return f"{what}, streamed from the Hugging Face hub, revision {self._revision or 'newest'}"

    @property
    def skipped(self) -> tuple[str, ...]:
        """Broken samples of the last `samples()` call so far."""
        return tuple(self._skipped)

    def samples(self, count: int) -> Iterator[Sample]:
        """Up to `count` good samples from the first row on.

        Raises:
            DataError: unreadable data, no sample at all, or more than 5 % of those read broken.
            EnvironmentProblem: the hub cannot be reached.
        """
        self._skipped.clear()
        good = 0
        for position, row in enumerate(self._rows()):
            if self._layout.image_optional and row["image"] is None:
                continue
            sample_id = self._id_of(row, position)
            try:
                sample = self._sample(row, sample_id)
            except DataError as error:
                self._skipped.append(f"{sample_id}: {error}")
                # Even if all that is still to come were good, the share could not fall below this.
                self._check_broken(good_at_most=count)
                continue
            good += 1
            yield sample
            if good == count:
                return
        self._check_broken(good_at_most=good)
        if not good:
            raise DataError(f"{self.source}: no sample in it.")

    def _rows(self) -> Iterable[Row]:
        if self._data_dir is not None:
            rows = iter(rows_in_folder(self._layout, self._data_dir))
            expected = folder_errors()
        else:
            self._revision = resolve_revision(self._layout)
            rows = iter(rows_on_hub(self._layout, self._revision))
            expected = hub_errors()
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except expected as error:  # a damaged page, or a connection that broke while streaming
                if self._data_dir is not None:
                    raise folder_problem(self._data_dir, error) from None
                raise hub_problem(self._layout, error) from None
            yield row

    def _sample(self, row: Row, sample_id: str) -> Sample:
        texts = self._layout.read(row)
        references = texts.references
        if texts.letter is not None and self._answer_form == "letter":
            references = (texts.letter,)
        return Sample(
            sample_id=sample_id,
            image=decode(row["image"]),
            prompt=texts.prompt,
            references=references,
            letter_reference=texts.letter,
            text_reference=texts.references[0] if texts.letter is not None else None,
        )

    def _id_of(self, row: Row, position: int) -> str:
        column = self._layout.id_column
        named = row[column] if column is not None else None
        tail = f"{self._layout.split}-{position:06d}" if named is None else str(named)
        return f"{self.name}-{tail}"

    def _check_broken(self, good_at_most: int) -> None:
        broken = len(self._skipped)
        if broken > MAX_BROKEN_SHARE * (good_at_most + broken):
            raise DataError(
                f"{self.source}: {broken} broken beside at most {good_at_most} good samples is more "
                f"than {MAX_BROKEN_SHARE:.0%}; first: {self._skipped[0]}."
            )
