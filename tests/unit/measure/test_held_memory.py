"""Memory by layer: what each makes, keeps and frees itself, by hand and conserved."""

from __future__ import annotations

import torch
from torch import nn

from layerscope.measure.flops import count_work
from layerscope.records.work import CountedWork, WorkRow

KIB = 1024


class Inner(nn.Module):
    """Makes 4 KiB that it lets go, and hands on 2 KiB."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scratch = torch.ones(1024)  # 4 KiB
        return x + scratch[:512]  # 2 KiB


class Keeper(nn.Module):
    """Grows by 1 KiB a call, as a cache does."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept.append(torch.zeros(256))
        return x.view(-1)  # a view makes nothing


class Outer(nn.Module):
    """Calls one after the other; what `inner` gave ends here, not there."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.keeper = Inner(), Keeper()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = self.inner(x)
        for _ in range(3):
            self.keeper(x)
        y = middle * 2  # 2 KiB
        del middle
        return y


def rows_of(
    model: nn.Module, x: torch.Tensor
) -> tuple[dict[str, WorkRow], CountedWork, torch.Tensor]:
    results: list[torch.Tensor] = []
    work = count_work(model, lambda: results.append(model(x)), root="forward")
    return {row.layer: row for row in work.rows}, work, results[0]


def test_each_layer_has_what_it_makes_keeps_and_frees_itself() -> None:
    rows, _, _ = rows_of(Outer(), torch.ones(512))
    inner = rows["inner"]
    assert (inner.allocated_bytes, inner.largest_bytes) == (6 * KIB, 4 * KIB)
    assert inner.retained_bytes == 2 * KIB  # its result
    # Its scratch ends with its frame, or a moment later in its caller's.
    outer = rows["forward"]
    assert (inner.freed_bytes or 0) + (outer.freed_bytes or 0) == (4 + 2) * KIB
    assert (outer.allocated_bytes, outer.retained_bytes) == (2 * KIB, 2 * KIB)
    keeper = rows["keeper"]
    assert (keeper.calls, keeper.allocated_bytes, keeper.retained_bytes) == (3, 3 * KIB, 3 * KIB)
    assert (keeper.largest_bytes, keeper.freed_bytes) == (KIB, 0)


def test_what_is_allocated_less_what_is_freed_is_what_is_left() -> None:
    model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 32), nn.LayerNorm(32))
    x = torch.randn(16, 64)
    with torch.no_grad():
        _, work, result = rows_of(model, x)
    made = sum(row.allocated_bytes or 0 for row in work.rows)
    ended = sum(row.freed_bytes or 0 for row in work.rows)
    assert made - ended >= result.untyped_storage().nbytes() == 16 * 32 * 4
    # A norm keeps its mean and scale no longer than it runs; nothing but the result is left.
    assert made - ended == 16 * 32 * 4
    largest = max(work.rows, key=lambda row: row.largest_bytes or 0)
    assert (largest.layer, largest.largest_bytes) == ("0", 16 * 256 * 4)


def test_weights_and_inputs_are_nobody_s() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.t()[:2] if self.weight.t().shape else x

    rows, _, _ = rows_of(Views(), torch.ones(4, 4))
    assert rows["forward"].allocated_bytes == 0
