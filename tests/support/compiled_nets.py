"""Small nets that the compiler rewrites, each a kind of its own, and what their accounts must say.

The truth is the same net run eagerly: which heavy operators ran in which layers. `judge` runs both and
says `right` (all equal), `unknown` (what is missing is with the compiled part, and said to be
unknown) or `wrong`.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import layerscope
from layerscope.account.account import work_out, work_out_known
from layerscope.account.heavy_count import heavy_count
from layerscope.instrument.profiler import ProfilerSession
from layerscope.passes.captures import captures_noted
from layerscope.records.heavy import HeavyCount, differences
from layerscope.trace.columns import read_trace

WIDTH = 16
Net = nn.Module
Make = Callable[[Net], Any]


@dataclass(frozen=True)
class Case:
    """`change` happens to the net after it was compiled; `may_be_unknown` where no more is promised."""

    kind: Callable[[], Net]
    shapes: tuple[tuple[int, ...], ...] = ((8, WIDTH),)
    compiled: Make = torch.compile
    change: Callable[[Net], None] | None = None
    may_be_unknown: bool = False
    train: bool = False


@dataclass(frozen=True)
class Judged:
    verdict: str
    eager: HeavyCount
    compiled: HeavyCount
    differences: list[str]
    notes: tuple[str, ...]


def linear(n: int = WIDTH, m: int = WIDTH, *, bias: bool = False) -> nn.Linear:
    return nn.Linear(n, m, bias=bias)


class Residual(Net):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = linear(WIDTH, 4 * WIDTH), linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(x)))


class Stack(Net):
    """Blocks without biases, whose residuals the compiler fuses into the products."""

    def __init__(self, block: Callable[[], Net] = Residual) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block() for _ in range(3))
        self.out = nn.Linear(WIDTH, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.out(x)


class PlainResidual(Net):
    """Products right after one another: each operand is the sum before it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = linear(), linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.a(x)
        return x + self.b(x)


class InPlace(Net):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = linear(), linear(), linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.a(x)
        out += torch.mm(x, self.b.weight)
        out.add_(self.c(x))
        return out


class Gate(Net):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = linear(WIDTH, 64), linear(4 * WIDTH, 64)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.a(x) + self.b(z)


class Gated(Net):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = linear(), linear(), linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x)) + self.gate(x)


class Adapter(Net):
    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = linear(), linear(WIDTH, 4), linear(4, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + 0.5 * self.up(self.down(x))


class Lora(nn.Linear):
    """A linear layer with its low-rank pair inside, which can be merged into it."""

    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH, bias=False)
        self.lora_a, self.lora_b = linear(WIDTH, 4), linear(4, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight) + self.lora_b(self.lora_a(x))


class Attention(Net):
    def __init__(self, *, own: bool = True) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (linear(bias=True) for _ in range(4))
        self.own = own

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (p(x).unflatten(-1, (2, 8)).transpose(1, 2) for p in (self.q, self.k, self.v))
        if self.own:
            mixed = torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, -1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.o(mixed.transpose(1, 2).flatten(-2))


class Tied(Net):
    """The embedding's weight is the head's."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(32, WIDTH), linear(), linear(WIDTH, 32)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.embed(x.argmax(-1))))


class Twice(Net):
    """One module under two names, called through both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Residual()
        self.second = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


class SharedWeights(Net):
    """Two modules, one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual() for _ in range(2))
        for name in ("up", "down"):
            getattr(self.blocks[1], name).weight = getattr(self.blocks[0], name).weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks[1](self.blocks[0](x))


class Functional(Net):
    """Uses another module's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = linear(), Borrower()
        self.b.lender = [self.a]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x))


class Borrower(Net):
    lender: list[Net]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.linear(x, self.lender[0].weight)


class Branches(Net):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.a, self.b, self.c = linear(), linear(), linear(), linear(bias=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        y = torch.cond(x.sum() > 0, lambda x: self.a(x), lambda x: self.b(x), (x,))
        return self.c(y)


class UnevenBranches(Branches):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cond((x * x).sum() < 0, lambda x: self.a(self.b(x)), lambda x: x.sin(), (x,))
        return self.b(self.before(y))


class Loop(Net):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = linear(bias=True), linear(bias=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch._higher_order_ops.while_loop import while_loop

        def body(i: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return i + 1, self.a(x)

        _, x = while_loop(lambda i, x: i < 3, body, (torch.tensor(0), x))
        return self.b(x)


class Regions(Net):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual() for _ in range(3))
        self.out = linear()
        self.region = torch.compiler.nested_compile_region(lambda block, x: block(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = self.region(block, x)
        return self.out(x)


class Breaks(Net):
    """A graph break in a layer; both halves without parameters of their own in places."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = linear(), linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.up(x)
        torch._dynamo.graph_break()
        hidden = hidden @ hidden.transpose(-1, -2)
        torch._dynamo.graph_break()
        return x + self.down(hidden @ x)


class ConvNorm(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.point = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.point(torch.relu(self.norm(self.conv(x))))


class Parametrized(Net):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.utils.parametrizations.weight_norm(linear())
        self.b = nn.utils.parametrizations.weight_norm(linear())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(self.a(x))


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        return grads[0] @ weight.t(), x.t() @ grads[0]


class Custom(Net):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = linear(), linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(Square.apply(self.a(x), self.a.weight))


class Batched(Net):
    """Products of batches, added to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = BatchedPart(), BatchedPart()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.left(x) + self.right(x)


class BatchedPart(Net):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.bmm(x, self.weight)


class Einsum(Net):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.Parameter(torch.randn(4, WIDTH, WIDTH))
        self.out = linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.einsum("bd,edf->bf", x, self.experts))


class Angles(nn.Module):
    """Frequencies by positions as a matrix product of one column and one row: rotary embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.rand(1, WIDTH, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(x.shape[0]).float()[None, None, :]
        return (self.frequencies @ positions).transpose(1, 2)[0].cos()


class Rotary(Net):
    def __init__(self) -> None:
        super().__init__()
        self.angles, self.a, self.b = Angles(), linear(), linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angles = self.angles(x)
        return self.b(torch.relu(self.a(x)) * angles) + angles


def decorated(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    @functools.wraps(forward)
    def wrapper(self: Net, *args: torch.Tensor) -> torch.Tensor:
        return forward(self, *args)

    return wrapper


class Decorated(Net):
    """A product of the module's own, in a decorated forward."""

    def __init__(self) -> None:
        super().__init__()
        self.a = linear()

    @decorated
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.a(torch.relu(x @ self.a.weight))


class Permuted(Net):
    """The same code as its parent's under other names, crosswise."""

    def __init__(self, *, crosswise: bool = False) -> None:
        super().__init__()
        self.a, self.b = linear(), linear()
        self.crosswise = crosswise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.crosswise:
            q = self.a(x)
            p = self.b(q)
            return p + q
        p = self.b(x)
        q = self.a(p)
        return p + q


def swap(net: Net) -> None:
    """Blocks 0 and 1 change weights."""
    one, other = net.blocks[0].up, net.blocks[1].up
    one.weight, other.weight = other.weight, one.weight


def swap_modules(net: Net) -> None:
    net.blocks[0], net.blocks[1] = net.blocks[1], net.blocks[0]


def data_swap(net: Net) -> None:
    for name in ("up", "down"):
        one, other = (getattr(net.blocks[i], name).weight for i in (0, 2))
        one.data, other.data = other.data, one.data


def reload(net: Net) -> None:
    state = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(state, assign=True)


def lend_forward(net: Net) -> None:
    """Block 0 runs block 2."""
    forward = net.blocks[2].forward
    net.blocks[0].forward = lambda x: forward(x)


def kept_aside(module: nn.Module) -> None:
    """As offloading does it."""

    def new_forward(module: Any, *args: Any, **kwargs: Any) -> Any:
        return module._old_forward(*args, **kwargs)

    module._old_forward = module.forward
    around = functools.partial(new_forward, module)
    module.forward = functools.update_wrapper(around, module._old_forward)


class Around:
    """A `forward` as an object that holds the one before it, in a list."""

    def __init__(self, forward: Any) -> None:
        self.before = [forward]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.before[0](*args, **kwargs)


def in_object(module: nn.Module) -> None:
    module.forward = Around(module.forward)


def replacing(replace: Callable[[nn.Module], None], compiled: Make = torch.compile) -> Make:
    """Compile after replacing the `forward` of every module with children."""

    def make(net: Net) -> Any:
        for module in net.modules():
            if next(module.children(), None) is not None and not isinstance(module, nn.ModuleList):
                replace(module)
        return compiled(net)

    return make


def by_block(net: Net) -> Net:
    for block in net.blocks:
        block.compile()
    return net


def in_pieces(net: Net) -> Net:
    for name, child in net.named_children():
        setattr(net, name, torch.compile(child))
    return net


def wrapped(net: Net) -> Any:
    class Around(Net):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.extra = net, linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.extra(self.inner(x))

    return torch.compile(Around().to(next(net.parameters()).device))


def autotuned(net: Net) -> Any:
    return torch.compile(net, options={"max_autotune": True, "max_autotune_gemm_backends": "ATEN"})


def templates(net: Net) -> Any:
    backend = "CPP" if next(net.parameters()).device.type == "cpu" else "TRITON"
    options = {"max_autotune": True, "max_autotune_gemm_backends": f"ATEN,{backend}"}
    return torch.compile(net, options=options)


def dynamic(net: Net) -> Any:
    return torch.compile(net, dynamic=True)


def function(net: Net) -> Any:
    return torch.compile(lambda *args: net(*args) * 2)


SQUARE = ((2, 8, WIDTH),)
CASES = {
    "residual": Case(Stack),
    "residual by block": Case(Stack, compiled=by_block),
    "residuals in a row": Case(PlainResidual),
    "sums in place": Case(InPlace),
    "gate": Case(Gate, ((8, WIDTH), (8, 4 * WIDTH))),
    "gate, autotuned": Case(Gate, ((8, WIDTH), (8, 4 * WIDTH)), autotuned),
    "gate, templates": Case(Gate, ((8, WIDTH), (8, 4 * WIDTH)), templates),
    "gated": Case(Gated),
    "adapter": Case(Adapter),
    "lora": Case(Lora),
    "lora in a stack": Case(lambda: Stack(Lora)),
    "attention by hand": Case(Attention, SQUARE),
    "attention": Case(lambda: Attention(own=False), SQUARE),
    "attention by block": Case(lambda: Stack(Attention), SQUARE, by_block),
    "tied": Case(Tied),
    "one module twice": Case(Twice),
    "shared weights": Case(SharedWeights),
    "shared weights by block": Case(SharedWeights, compiled=by_block),
    "another's weight": Case(Functional),
    "branches": Case(Branches, may_be_unknown=True),
    "uneven branches": Case(UnevenBranches, may_be_unknown=True),
    "loop": Case(Loop, may_be_unknown=True),
    "regions": Case(Regions, may_be_unknown=True),
    "graph breaks": Case(lambda: Stack(Breaks), compiled=by_block),
    "graph breaks, whole": Case(Breaks),
    "conv and norm": Case(ConvNorm, ((2, 3, 8, 8),)),
    "weight norm": Case(Parametrized),
    "custom function": Case(Custom),
    "batched sums": Case(Batched, ((4, 8, WIDTH),)),
    "einsum": Case(Einsum),
    "outer products": Case(Rotary),
    "decorated": Case(lambda: Stack(Decorated), compiled=by_block),
    "decorated, whole": Case(Decorated),
    "weights swapped": Case(Stack, compiled=by_block, change=swap),
    "weights swapped, whole": Case(Stack, change=swap),
    "modules swapped": Case(Stack, compiled=by_block, change=swap_modules),
    "data swapped": Case(Stack, compiled=by_block, change=data_swap),
    "weights loaded": Case(Stack, compiled=by_block, change=reload),
    "crosswise names": Case(Permuted),
    "crosswise names again": Case(lambda: Permuted(crosswise=True)),
    "forwards kept aside": Case(Stack, compiled=replacing(kept_aside)),
    "forwards kept aside by block": Case(Stack, compiled=replacing(kept_aside, by_block)),
    "forwards in objects": Case(Stack, compiled=replacing(in_object)),
    "another's forward": Case(Stack, change=lend_forward),
    "another's forward by block": Case(Stack, compiled=by_block, change=lend_forward),
    "a part of what is compiled": Case(Stack, compiled=wrapped),
    "children one by one": Case(Gated, compiled=in_pieces),
    "dynamic shapes": Case(Stack, compiled=dynamic),
    "a function": Case(Stack, compiled=function),
    "one row": Case(Stack, ((1, WIDTH),)),
    "training": Case(Stack, train=True),
}  # fmt: skip


def judge(
    case: Case, device: str = "cpu", *, calls: int = 2, seed: int = 0, graphs: bool = False
) -> Judged:
    """Run the case eagerly and compiled, and compare.

    Args:
        graphs: as CUDA graphs.
    """
    from torch._inductor import config

    if graphs:
        ProfilerSession.prepare(cuda=True)
        with config.patch({"triton.cudagraphs": True}):
            return _judge(case, device, calls, seed, graphs=True)
    return _judge(case, device, calls, seed, graphs=False)


def _judge(case: Case, device: str, calls: int, seed: int, *, graphs: bool) -> Judged:
    torch._dynamo.reset()
    torch.manual_seed(seed)
    net = case.kind().to(device).train(case.train)
    inputs = [torch.randn(shape, device=device) for shape in case.shapes]
    twin = copy.deepcopy(net)
    if hasattr(twin, "b") and hasattr(twin.b, "lender"):
        twin.b.lender = [twin.a]
    if case.change is not None:
        case.change(twin)

    def run(model: Any) -> None:
        if graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with torch.set_grad_enabled(case.train):
            found = model(*inputs)
            if case.train:
                found.sum().backward()

    run(twin)
    with layerscope.capture(twin) as plain:
        for _ in range(calls):
            run(twin)
    with layerscope.watch_compile(net) as watch:
        fast = case.compiled(net)
        run(fast)
        if case.change is not None:
            case.change(net)
        with captures_noted(watch, cuda=True) if graphs else nullcontext():
            run(fast), run(fast)
        run(fast)
        with layerscope.capture(net if fast is not net and not _covers(fast, net) else fast,
                                compiled=watch) as window:  # fmt: skip
            for _ in range(calls):
                run(fast)
    plain.table.check()
    window.table.check()
    eager = heavy_count(work_out(read_trace(plain.trace_path)))
    workings = work_out_known(read_trace(window.trace_path))
    compiled = heavy_count(workings)
    wanted = Counter(eager.known)
    found = differences(wanted, compiled)
    same = not found and not compiled.unknown
    # Run eagerly, a branch or a loop is compiled for itself, and the truth lacks its layers. What is
    # never allowed is more in a layer than ran there.
    more = [key for key, count in compiled.known.items() if count > wanted[key]]
    honest = not found or (case.may_be_unknown and not more)
    verdict = "right" if same else "unknown" if honest else "wrong"
    return Judged(verdict, eager, compiled, found, window.table.notes)


def _covers(fast: Any, net: Net) -> bool:
    return isinstance(fast, nn.Module) and getattr(fast, "_orig_mod", None) is net


def main() -> None:
    import sys
    import time

    for name in sys.argv[1:] or CASES:
        began = time.monotonic()
        try:
            judged = judge(CASES[name], "cuda" if torch.cuda.is_available() else "cpu")
        except Exception as error:
            print(f"{name:28} ERROR {type(error).__name__}: {str(error)[:300]}", flush=True)
            continue
        print(f"{name:28} {judged.verdict:8} {time.monotonic() - began:5.1f} s", flush=True)
        if judged.verdict != "right":
            print("   eager   ", dict(judged.eager.known))
            print("   compiled", dict(judged.compiled.known), dict(judged.compiled.unknown))
            print("   ", judged.differences)
            print("   ", *judged.notes, sep="\n      ")


if __name__ == "__main__":
    main()
