"""Bytes by hand: what an operator touches, each byte once; and unions against a walk over all bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layerscope.measure.flops import count_work
from layerscope.measure.flops.regions import bytes_in, region_of

pytestmark = pytest.mark.filterwarnings("ignore:index_reduce:UserWarning")

TABLE = torch.zeros(100_000, 16)
ROW = 16 * 4
AT = torch.tensor([1, 5, 9, 77])
FOUR = torch.ones(4, 16)
X = torch.ones(1_000)
WINDOWS = torch.ones(1_099)
IMAGE = torch.ones(3, 10, 12)


def moved(run: Callable[[], object]) -> int:
    with torch.no_grad():
        return count_work(nn.Identity(), run, root="forward").bytes_moved


@pytest.mark.parametrize(
    ("run", "wanted"),
    [
        # Updates read and write the rows they touch, and read what they add and where.
        (lambda: TABLE.index_add_(0, AT, FOUR), 3 * 4 * ROW + 32),
        (lambda: TABLE.index_reduce_(0, AT, FOUR, "amax"), 3 * 4 * ROW + 32),
        (lambda: TABLE.scatter_add_(0, AT[:, None].expand(4, 16), FOUR), 3 * 4 * ROW + 32),
        (lambda: TABLE.scatter_reduce_(0, AT[:, None].expand(4, 16), FOUR, "sum"),
         3 * 4 * ROW + 32),
        (lambda: TABLE.index_put_((AT,), FOUR, accumulate=True), 3 * 4 * ROW + 32),
        # The same row twice is one row.
        (lambda: TABLE.index_add_(0, torch.tensor([7, 7]), FOUR[:2]), 4 * ROW + 16),
        # Replacing does not read what was there.
        (lambda: TABLE.index_put_((AT,), FOUR), 2 * 4 * ROW + 32),
        (lambda: TABLE.index_copy_(0, AT, FOUR), 2 * 4 * ROW + 32),
        (lambda: TABLE.index_fill_(0, AT, 0.0), 4 * ROW + 32),
        (lambda: TABLE.scatter_(1, AT[:1, None], 1.0), 4 + 8),
        (lambda: TABLE.put_(AT, FOUR[0, :4]), 2 * 16 + 32),
        # Lookups.
        (lambda: TABLE[AT], 2 * 4 * ROW + 32),
        (lambda: TABLE[AT, torch.tensor([1, 1, 1, 2])], 2 * 16 + 64),
        (lambda: TABLE.index_select(0, AT), 2 * 4 * ROW + 32),
        (lambda: TABLE.gather(0, AT[:, None]), 2 * 16 + 32),
        (lambda: TABLE.take(AT), 2 * 16 + 32),
        (lambda: nn.functional.embedding(torch.tensor([3, 3, 3]), TABLE), ROW + 24 + 3 * ROW),
        (lambda: nn.functional.embedding_bag(AT, TABLE, torch.tensor([0, 2]), mode="sum"),
         4 * ROW + 32 + 2 * ROW),
        # A tensor read twice in one operator is read once.
        (lambda: X * X, 8_000),
        (lambda: torch.cat([X, X]), 4_000 + 8_000),
        (lambda: torch.addcmul(X, X, X), 8_000),
        (lambda: X + X[:500].repeat(2), 4_000 * 3 + 2_000 + 4_000),
        # Views that visit places again.
        (lambda: WINDOWS.unfold(0, 100, 1).sum(1), 1_099 * 4 + 1_000 * 4),
        (lambda: X[:10].expand(50, 10).sum(0), 40 + 40),
        (lambda: IMAGE.unfold(1, 3, 1).unfold(2, 3, 1).sum((3, 4)), 3 * 4 * (120 + 80)),
        (lambda: X[::2].clone(), 2 * 2_000),
        # What is written without being returned.
        (lambda: torch._foreach_add_([X[:4], X[4:8]], 1.0), 2 * 32),
    ],
)  # fmt: skip
def test_bytes_by_hand(run: Callable[[], object], wanted: int) -> None:
    assert moved(run) == wanted


def test_embedding_bag_reads_the_rows_it_looks_up() -> None:
    net = nn.EmbeddingBag(100_000, 16)
    ids, bags = torch.arange(0, 2_000, 100), torch.tensor([0, 5, 10, 15])
    assert moved(lambda: net(ids, bags)) == 20 * ROW + 20 * 8 + 4 * ROW == 1_696


def test_nll_loss_reads_one_class_of_each_row() -> None:
    scores, target = torch.zeros(50, 1_000), torch.zeros(50, dtype=torch.long)
    loss = nn.functional.nll_loss
    assert moved(lambda: loss(scores, target)) <= 50 * 4 + 50 * 8 + 8


def test_sparse_operands_are_what_is_stored() -> None:
    sparse = torch.eye(100).to_sparse()
    indices, values, dense = 2 * 100 * 8, 100 * 4, 100 * 3 * 4
    run = lambda: torch.mm(sparse, torch.ones(100, 3))  # noqa: E731
    assert moved(run) == indices + values + dense + dense + dense  # ones() writes the operand


@pytest.mark.parametrize("bias", [False, True])
def test_a_packed_weight_read_in_slices_counts_once(bias: bool) -> None:
    net = nn.MultiheadAttention(64, 4, bias=bias, batch_first=True)
    query, keys = torch.randn(2, 5, 64), torch.randn(2, 7, 64)
    work = count_work(net, lambda: net(query, keys, keys), root="forward")
    assert work.parts[0].weight_bytes == 4 * (4 * 64 * 64 + (4 * 64 if bias else 0))


def test_rows_looked_up_twice_in_a_part_count_once() -> None:
    net = nn.Embedding(1_000, 16)
    one, two = torch.tensor([1, 2]), torch.tensor([2, 3])
    work = count_work(net, lambda: (net(one), net(two)), root="generate")
    assert sum(part.weight_bytes for part in work.parts) == 2 * 2 * ROW
    net2 = nn.Sequential(nn.Embedding(1_000, 16), nn.Linear(16, 1_000, bias=False))
    net2[1].weight = net2[0].weight  # tied: read whole, so that the rows are in it
    tied = count_work(net2, lambda: net2(one), root="forward")
    assert tied.parts[0].weight_bytes == 1_000 * ROW


SHAPES = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 11)), min_size=0, max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(SHAPES, st.integers(0, 30), st.booleans()), min_size=1, max_size=3))
def test_unions_equal_a_walk_over_every_byte(
    given_views: list[tuple[list[tuple[int, int]], int, bool]],
) -> None:
    base = torch.zeros(300)
    views, seen = [], set()
    for dims, offset, halves in given_views:
        storage = base.view(torch.int16) if halves else base
        sizes, strides = [size for size, _ in dims], [stride for _, stride in dims]
        view = storage.as_strided(sizes, strides, offset)
        views.append(view)
        places = torch.arange(storage.numel()).as_strided(sizes, strides, offset)
        width = view.element_size()
        for place in places.flatten().tolist():
            seen.update(range(place * width, (place + 1) * width))
    assert bytes_in(region_of(view) for view in views) == len(seen)
