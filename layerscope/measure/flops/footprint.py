"""What a part has read of each storage so far, each byte once: the union behind the floor."""

from __future__ import annotations

from collections import defaultdict

from layerscope.measure.flops.regions import Region, bytes_in
from layerscope.measure.flops.traffic import Moved


class Footprint:
    """Distinct bytes read of one storage over many operators.

    Slices add up to their union, and so do rows that were looked up. Single elements whose places
    are not kept count as the most that one operator touched, so that the sum stays a lower bound.
    """

    def __init__(self) -> None:
        self._regions: set[Region] = set()
        self._rows: dict[int, set[int]] = defaultdict(set)
        self._most = 0

    def read(self, moved: Moved) -> None:
        """Take in what one operator read."""
        self._regions.update(moved.regions)
        for touched in moved.touched:
            if touched.rows is None:
                self._most = max(self._most, touched.size)
            else:
                self._rows[touched.row_bytes].update(touched.rows)

    def join(self, other: Footprint) -> None:
        """Take in what another footprint of the same storage has read."""
        self._regions |= other._regions
        self._most = max(self._most, other._most)
        for row_bytes, rows in other._rows.items():
            self._rows[row_bytes] |= rows

    @property
    def size(self) -> int:
        """Distinct bytes; a table read whole holds the rows looked up in it."""
        rows = max((size * len(found) for size, found in self._rows.items()), default=0)
        return max(bytes_in(self._regions), rows, self._most)
