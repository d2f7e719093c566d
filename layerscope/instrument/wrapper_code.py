"""The code that inductor wrote around its kernels in, the kernel calls in the order they run out.

Each kernel call stands below a comment with its debug handle. The code of sub-graphs (branches, loops,
regions, partitions) stands in functions of its own, before the function that calls them: so the order
of the text is not the order of running, and one call in the text may run several times.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

_HANDLE = re.compile(r"^\s*(?:#|//)\s*\[Provenance debug handles\]\s+(\S+):(\d+)\s*$")
_FUNCTION = re.compile(r"^(\s*)def (\w+)\((?:self, )?args\):")
_CALLED = re.compile(r"=\s*(\w+)\((\w+)_args\)\s*$")
_PARTITION = re.compile(r"=\s*self\.partitions\[(\d+)\]\(")
_ARGS = re.compile(r"^\s*(\w+)_args = \[(.*)\]\s*$")
_BLOCK = re.compile(r"^\s*(if|elif|else|while|for)\b.*:\s*$")
_TOP = "call"
_DEEPEST = 16


@dataclass(frozen=True)
class KernelCall:
    """One call of a kernel.

    Attributes:
        handle: unique among the calls in the text.
        part: function of the sub-graph it stands in; "" in the graph's own code.
        sometimes: in a branch or a loop, so that it runs once, often or never.
        text: the call itself, as code.
        inputs: where a region is called, what each of its inputs is in the caller.
        instance: how often its part was called before.
    """

    name: str
    handle: str
    part: str = ""
    sometimes: bool = False
    text: str = ""
    inputs: tuple[str, ...] = ()
    instance: int = 0


@dataclass(frozen=True)
class _Line:
    """A kernel call, or the call of a part (`calls`)."""

    call: KernelCall
    calls: str = ""


def kernel_calls(code: str) -> tuple[KernelCall, ...]:
    """The calls in the order in which they run; one of a region that runs twice is there twice."""
    parts = _parts(code)
    top = _TOP if _TOP in parts else ""
    seen: Counter[str] = Counter()
    return tuple(_expanded(parts, top, False, (), seen, 0))


def handles(code: str) -> frozenset[str]:
    """All debug handles in the text."""
    return frozenset(f[2] for line in code.splitlines() if (f := _HANDLE.match(line)))


def _parts(code: str) -> dict[str, list[_Line]]:
    """The lines of each function that matter; those outside any under ""."""
    parts: dict[str, list[_Line]] = {"": []}
    name, indent = "", 0
    blocks: list[int] = []
    arguments: dict[str, tuple[str, ...]] = {}
    waiting: KernelCall | None = None
    for text in code.splitlines():
        if not text.strip():
            continue
        at = len(text) - len(text.lstrip())
        if begun := _FUNCTION.match(text):
            name, indent, blocks, waiting = begun[2], len(begun[1]), [], None
            parts.setdefault(name, [])
            continue
        if name and at <= indent:
            name, blocks, waiting = "", [], None
        while blocks and at <= blocks[-1]:
            blocks.pop()
        if found := _HANDLE.match(text):
            waiting = KernelCall(found[1], found[2], _named(name), bool(blocks))
            parts[name].append(_Line(waiting))
        elif given := _ARGS.match(text):
            arguments[given[1]] = tuple(item.strip() for item in given[2].split(","))
        elif name and (called := _CALLED.search(text)) and called[1] == called[2]:
            call = KernelCall("", "", sometimes=bool(blocks), inputs=arguments.get(called[1], ()))
            parts[name].append(_Line(call, called[1]))
        elif name and (partition := _PARTITION.search(text)):
            call = KernelCall("", "", sometimes=bool(blocks))
            parts[name].append(_Line(call, f"partition_{partition[1]}"))
        elif waiting is not None:
            parts[name][-1] = _Line(replace(waiting, text=text.strip()))
            waiting = None
        if _BLOCK.match(text) and name:
            blocks.append(at)
    return parts


def _named(function: str) -> str:
    """The sub-graph whose code a function is; a partition is code of the graph itself."""
    own = function in ("", _TOP) or re.fullmatch(r"partition_\d+", function)
    return "" if own else function


def _expanded(
    parts: dict[str, list[_Line]],
    name: str,
    sometimes: bool,
    inputs: tuple[str, ...],
    seen: Counter[str],
    depth: int,
) -> list[KernelCall]:
    found: list[KernelCall] = []
    instance = seen[name]
    seen[name] += 1
    for line in parts.get(name, ()) if depth < _DEEPEST else ():
        call = line.call
        maybe = sometimes or call.sometimes
        if line.calls in parts and line.calls:
            outer = call.inputs if not call.part and not inputs else ()
            found += _expanded(parts, line.calls, maybe, outer, seen, depth + 1)
        elif call.handle:
            found.append(replace(call, sometimes=maybe, inputs=inputs, instance=instance))
    return found
