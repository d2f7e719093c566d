"""FLOPs of recurrent layers that run as one fused operator: each weight matrix once a row and step.

LSTM, GRU and plain RNN alike: a layer multiplies its inputs by w_ih (gates x input) and its state by
w_hh (gates x hidden) at each step, and an LSTM with a projection its output by w_hr. The gates
themselves are pointwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerscope.measure.flops.operands import Operands


def _rows(o: Operands) -> int:
    """Steps x batch of (steps, batch, features), or the rows of a packed sequence."""
    return math.prod(o.shape("input")[:-1])


def _one_layer(o: Operands) -> int:
    """`mkldnn_rnn_layer`: one layer in one direction."""
    return 2 * _rows(o) * (math.prod(o.shape("weight0")) + math.prod(o.shape("weight1")))


def _all_layers(o: Operands) -> int:
    """`_cudnn_rnn`, `miopen_rnn`: all layers and directions, weights and biases in one list."""
    matrices: list[Any] = [w for w in o["weight"] if w.dim() == 2]
    return 2 * _rows(o) * sum(int(w.numel()) for w in matrices)


FORMULAS: dict[str, Callable[[Operands], int | None]] = {
    "mkldnn_rnn_layer": _one_layer,
    "_cudnn_rnn": _all_layers,
    "miopen_rnn": _all_layers,
}
