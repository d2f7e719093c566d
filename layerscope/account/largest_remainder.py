"""A whole number and weights in, whole parts that add up to it out."""

from __future__ import annotations

from collections.abc import Sequence


def deal(total: int, weights: Sequence[int]) -> list[int]:
    """Parts of `total` in proportion to the weights, by largest remainder; their sum is `total`.

    Equal remainders go to the earlier part. The weights' sum must be positive.
    """
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    rest = [total * weight % whole for weight in weights]
    first = sorted(range(len(weights)), key=lambda i: (-rest[i], i))
    for index in first[: total - sum(parts)]:
        parts[index] += 1
    return parts
