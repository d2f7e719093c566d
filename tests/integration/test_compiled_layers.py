"""Compiled code against eager code: the same heavy operators in the same layers, by inductor itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.compiled_nets import CASES, judge, wrapped
from support.small_model import small_inputs, small_model
from torch._dynamo.utils import counters

import layerscope
from layerscope.core.errors import AccountingError, EnvironmentProblem
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.instrument.provenance_gate import why_not_understood
from layerscope.records import Account
from layerscope.workload.compiled import CompiledParts

Heavy = Counter[tuple[str, str]]


def heavy(account: Account) -> Heavy:
    """(operator, layer) of every matmul, batched matmul, convolution and attention that ran."""
    account.table.check()
    # Not by the table of operators: a convolution stands there under each name it goes by inside.
    assert account.heavy is not None
    assert not account.heavy.unknown
    return Counter(account.heavy.known)


def eager(model: torch.nn.Module, run: Callable[[Any], Any]) -> Heavy:
    with torch.no_grad(), layerscope.capture(model) as window:
        run(model)
    return heavy(window.account)


class Block(torch.nn.Module):
    """A residual block of two matmuls; asked to, it breaks the graph between them."""

    def __init__(self, *, breaks: bool) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(16)
        self.up = torch.nn.Linear(16, 32)
        self.down = torch.nn.Linear(32, 16)
        self.breaks = breaks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.up(self.norm(x)))
        if self.breaks:
            torch._dynamo.graph_break()
        return x + self.down(hidden)


class Net(torch.nn.Module):
    def __init__(self, *, breaks: bool = False) -> None:
        super().__init__()
        self.head = torch.nn.Linear(8, 16)
        self.blocks = torch.nn.ModuleList(Block(breaks=breaks) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture
def inputs() -> torch.Tensor:
    torch._dynamo.reset()
    counters.clear()
    return torch.randn(4, 8)


def test_this_torch_is_understood() -> None:
    assert why_not_understood() == ""


def compiled(watch: ProvenanceWatch, module: torch.nn.Module, inputs: torch.Tensor) -> Account:
    with torch.no_grad():
        module(inputs)
        with layerscope.capture(module, compiled=watch) as window:
            module(inputs)
    return window.account


EXPECTED: Heavy = Counter(
    {("mm", "head"): 1}
    | {("mm", f"blocks.{i}.{name}"): 1 for i in range(3) for name in ("up", "down")}
)


def test_an_optimized_module(inputs: torch.Tensor) -> None:
    net = Net().eval()
    assert eager(net, lambda model: model(inputs)) == EXPECTED
    with layerscope.watch_compile(net) as watch:
        counters.clear()  # those of the trial
        account = compiled(watch, torch.compile(net), inputs)
    assert heavy(account) == EXPECTED
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    rows = {row.layer: row for row in account.table.rows}
    assert rows["blocks.1.up"].module == "Linear"
    assert rows["blocks.1.up"].calls == rows["blocks.2.norm"].calls == 1
    assert rows["blocks.0.up"].attribution == "exact"
    assert rows["blocks.1.norm"].attribution == "fused"  # with the residual of the block before
    assert sum(row.modelled_ns or 0 for row in account.table.rows) > 0


def test_a_module_compiled_in_place_at_two_sizes(inputs: torch.Tensor) -> None:
    """The second size makes the graph's shapes dynamic; the layers stay what they are."""
    net = Net().eval()
    with layerscope.watch_compile(net) as watch, torch.no_grad():
        net.compile()
        net(inputs)
        account = compiled(watch, net, torch.randn(6, 8))
    assert heavy(account) == EXPECTED
    assert len(watch.record().graphs) == 2


def test_a_matrix_vector_product_in_generated_code_belongs_to_its_layer() -> None:
    """Inductor sums a row times a column itself, the activation before it and behind it included."""
    torch._dynamo.reset()
    net = torch.nn.Sequential(
        torch.nn.GELU(), torch.nn.Linear(64, 1, bias=False), torch.nn.Sigmoid()
    ).eval()
    with layerscope.watch_compile(net) as watch, torch.no_grad():
        torch.compile(net)(torch.randn(1, 64))
    (graph,) = watch.record().graphs
    assert [(site.operator, site.layers[0].layer) for site in graph.sites] == [("mm", "1")]
    assert graph.sites[0].origin == "exact"


def test_regional_compile_makes_one_graph_for_all_blocks(inputs: torch.Tensor) -> None:
    net = Net().eval()
    with layerscope.watch_compile(net) as watch:
        for block in net.blocks:
            block.compile()
        account = compiled(watch, net, inputs)
    assert heavy(account) == EXPECTED
    assert len(watch.record().graphs) == 1
    rows = {row.layer: row for row in account.table.rows}
    assert [rows[f"blocks.{i}"].calls for i in range(3)] == [1, 1, 1]
    assert (rows["head"].attribution, rows["head"].calls) == ("range", 1)


def test_a_graph_break_inside_a_layer(inputs: torch.Tensor) -> None:
    """Each block's halves are frames of their own, and one graph serves all three blocks."""
    net = Net(breaks=True).eval()
    with layerscope.watch_compile(net) as watch:
        account = compiled(watch, torch.compile(net), inputs)
    # Dynamo gives up on the frame with the loop: what that runs itself is not compiled, and is the
    # compiled module's own.
    broken = Counter(
        {(op, "forward" if layer == "head" else layer): n for (op, layer), n in EXPECTED.items()}
    )
    assert heavy(account) == broken
    assert counters["graph_break"]
    rows = {row.layer: row for row in account.table.rows}
    assert rows["blocks.2.norm"].calls == 1


def test_a_warm_cache_knows_as_much_as_a_cold_one(inputs: torch.Tensor) -> None:
    net = Net().eval()
    found = []
    for _ in range(2):
        torch._dynamo.reset()
        with layerscope.watch_compile(net) as watch, torch.no_grad():
            torch.compile(net)(inputs)
        found.append(watch.record().graphs)
    assert found[0] == found[1]
    assert (
        counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]
    )


def test_watching_changes_nothing(inputs: torch.Tensor) -> None:
    """The same graphs, breaks and answers as without; and torch is left as it was."""
    from torch._inductor import compile_fx as inductor
    from torch._inductor.output_code import CompiledFxGraph

    before = inductor.compile_fx, CompiledFxGraph.post_compile, CompiledFxGraph.__call__
    net = Net(breaks=True).eval()
    seen = []
    for watching in (False, True):
        torch._dynamo.reset()
        counters.clear()
        with torch.no_grad():
            if watching:
                with layerscope.watch_compile(net):
                    counters.clear()  # those of the trial
                    answer = torch.compile(net)(inputs)
            else:
                answer = torch.compile(net)(inputs)
        seen.append((answer, dict(counters["stats"]), sum(counters["graph_break"].values())))
    assert torch.equal(seen[0][0], seen[1][0])
    assert seen[0][1:] == seen[1][1:]
    after = inductor.compile_fx, CompiledFxGraph.post_compile, CompiledFxGraph.__call__
    assert before == after


@pytest.mark.slow
def test_what_cannot_be_noted_costs_the_layers_never_the_compilation(
    inputs: torch.Tensor, monkeypatch: Any
) -> None:
    from torch._inductor import config

    net = Net().eval()
    # Code from the cache has its notes already.
    anew = config.patch(force_disable_caches=True)
    with layerscope.watch_compile(net) as watch, torch.no_grad(), anew:
        monkeypatch.setattr("layerscope.instrument.provenance.noted", lambda *_: 1 / 0)
        assert torch.compile(net)(inputs + 0).shape == (4, 16)
    (graph,) = watch.record().graphs
    assert graph.problem
    assert {site.origin for site in graph.sites} <= {"unknown"}


def test_a_compiler_whose_notes_are_gone_is_not_understood(monkeypatch: Any) -> None:
    from torch._inductor.output_code import CompiledFxGraph

    # What a version that renamed its comments would leave.
    post_compile = CompiledFxGraph.post_compile

    def without_notes(graph: Any, *args: Any, **kwargs: Any) -> Any:
        graph.source_code = graph.source_code.replace("Provenance debug handles", "handles")
        return post_compile(graph, *args, **kwargs)

    monkeypatch.setattr(CompiledFxGraph, "post_compile", without_notes)
    torch._dynamo.reset()
    reason = why_not_understood()
    assert "two linear layers gave no call sites" in reason
    assert "one row each" in reason
    with pytest.raises(EnvironmentProblem, match="not understood"):
        layerscope.watch_compile(Net())


# ---- nets that the compiler rewrites ------------------------------------------------------------

QUICK = ("residual", "residual by block", "gate", "adapter", "weights swapped")
LONGER = (
    "residuals in a row", "sums in place", "gate, autotuned", "gate, templates", "lora in a stack",
    "attention by hand", "one module twice", "shared weights by block", "another's weight",
    "modules swapped", "data swapped", "weights loaded", "crosswise names", "crosswise names again",
    "graph breaks", "regions", "branches", "uneven branches", "loop", "a function",
    "a part of what is compiled", "custom function", "forwards kept aside",
    "forwards kept aside by block", "forwards in objects", "another's forward",
    "another's forward by block", "outer products",
)  # fmt: skip


def judged(name: str) -> None:
    case = CASES[name]
    found = judge(case)
    allowed = (
        ("right", "unknown") if case.may_be_unknown or case.compiled is wrapped else ("right",)
    )
    assert found.verdict in allowed, (found.differences, found.notes)


@pytest.mark.parametrize("name", QUICK)
def test_a_rewritten_net_keeps_its_layers(name: str) -> None:
    judged(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_another_rewritten_net_keeps_its_layers(name: str) -> None:
    judged(name)


def test_two_watched_twins_keep_apart(inputs: torch.Tensor) -> None:
    """Numbers of graphs never meet: each capture knows its own model's alone."""
    one, other = Net().eval(), Net().eval()
    with layerscope.watch_compile(one) as first, layerscope.watch_compile(other) as second:
        fast = [torch.compile(net) for net in (one, other)]
        with torch.no_grad():
            for net in fast:
                net(inputs)
            windows = []
            for net, watch in zip(fast, (first, second), strict=True):
                with layerscope.capture(net, compiled=watch) as window:
                    fast[0](inputs), fast[1](inputs)
                windows.append(window)
    for window in windows:
        window.account.table.check()
        ran = window.account.heavy
        assert ran is not None
        assert ran.known == EXPECTED
        assert ran.unknown == {"mm": EXPECTED.total()}  # the twin's: in no layer of this model
    numbers = [{g.number for g in watch.record().graphs} for watch in (first, second)]
    assert not numbers[0] & numbers[1] or not any(numbers)


def test_a_capture_beside_its_eager_one_is_checked_against_it(inputs: torch.Tensor) -> None:
    net = Net().eval()
    with torch.no_grad(), layerscope.capture(net) as plain:
        net(inputs)
    with layerscope.watch_compile(net) as watch, torch.no_grad():
        fast = torch.compile(net)
        fast(inputs)
        with layerscope.capture(fast, compiled=watch, eager=plain) as window:
            fast(inputs)
        window.table.check()
        with layerscope.capture(fast, compiled=watch, eager=plain) as twice:
            fast(inputs), fast(inputs)
    with pytest.raises(AccountingError, match="more in compiled code than eagerly"):
        twice.table.check()


# ---- the model ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_model(tmp_path_factory.mktemp("small"))


@pytest.mark.slow
@pytest.mark.long
def test_generate_with_a_growing_cache(model: Any) -> None:
    """Vision, Q-Former, encoder, first and later decoder steps; each step has shapes of its own.

    With a static cache the runs of test_optimization.py show the same.
    """
    inputs = small_inputs(text=8)  # the shapes of test_optimization.py: compiled code is shared

    def generate(instance: Any) -> torch.Tensor:
        tokens: torch.Tensor = instance.generate(**inputs, max_new_tokens=3, do_sample=False)
        return tokens

    expected = eager(model, generate)
    assert expected["convolution", "vision_model.embeddings.patch_embedding"] == 1
    assert expected["mm", "language_model.lm_head"] == 3
    with ProvenanceWatch(model) as watch, CompiledParts(model, "compile"), torch.no_grad():
        generate(model)
        with layerscope.capture(model, compiled=watch) as window:
            generate(model)
    assert heavy(window.account) == expected
