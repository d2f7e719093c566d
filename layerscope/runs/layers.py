"""`Layers`: the rows of a layer table for programs and notebooks, as a data frame on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from layerscope.records.layer_table import LayerRow, LayerTable
from layerscope.report.kinds import Kind, kinds_in, one_by_one


class Layers(Sequence[LayerRow]):
    """The rows of `layers.csv`, one a layer and phase.

    `run.layers[0].gpu_self_ns`, `len(run.layers)` and a loop over it work as on a list; times are
    nanoseconds, None is not measured.
    """

    def __init__(self, table: LayerTable, kinds: Sequence[Kind] | None = None) -> None:
        self._table = table
        self._held = tuple(one_by_one(table.rows) if kinds is None else kinds)
        self._rows = tuple(kind.row for kind in self._held)

    @overload
    def __getitem__(self, at: int) -> LayerRow: ...
    @overload
    def __getitem__(self, at: slice) -> Layers: ...
    def __getitem__(self, at: int | slice) -> LayerRow | Layers:
        if isinstance(at, slice):
            return Layers(self._table, self._held[at])
        return self._rows[at]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[LayerRow]:
        return iter(self._rows)

    @property
    def kinds(self) -> Layers:
        """Equal blocks of a stack as one row each, named by their kind, with their sums."""
        rows = [row for kind in self._held for row in kind.members]
        return Layers(self._table, kinds_in(rows))

    def to_pandas(self) -> Any:
        """A pandas DataFrame with the columns of `layers.csv`; times in µs, what is blank as null.

        Raises:
            EnvironmentProblem: pyarrow or pandas is not installed.
        """
        from layerscope.report.parquet import layers_frame

        return layers_frame(self._table, self._rows)

    def to_polars(self) -> Any:
        """The same as a polars DataFrame.

        Raises:
            EnvironmentProblem: pyarrow or polars is not installed.
        """
        from layerscope.report.parquet import layers_polars

        return layers_polars(self._table, self._rows)

    def _repr_html_(self) -> str:
        from layerscope.report.html.notebook import layers_html

        return layers_html(self._table, self._held)

    def __repr__(self) -> str:
        return f"<{len(self):,} rows of {self._table.root}>"
