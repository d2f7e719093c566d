"""Writes small Kineto traces for tests, in Kineto's own layout or compact."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PID = 100


def us(ns: int) -> float:
    """Nanoseconds as Kineto writes them: µs with three decimals."""
    return float(f"{ns // 1000}.{ns % 1000:03d}") if ns >= 0 else ns / 1000


@dataclass
class TraceWriter:
    """Collects events; times are given in ns."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def _add(
        self, name: str, cat: str, start: int, dur: int, pid: Any, tid: Any, **args: Any
    ) -> None:
        self.events.append(
            {
                "ph": "X",
                "cat": cat,
                "name": name,
                "pid": pid,
                "tid": tid,
                "ts": us(start),
                "dur": us(dur),
                "args": args,
            }
        )

    def op(self, name: str, start: int, dur: int, *, tid: int = 1, pid: int = PID) -> None:
        self._add(name, "cpu_op", start, dur, pid, tid)

    def layer(self, fqn: str, start: int, dur: int, *, tid: int = 1, pid: int = PID) -> None:
        self.op(f"layer:{fqn}", start, dur, tid=tid, pid=pid)

    def launch(
        self,
        correlation: Any,
        at: int,
        *,
        driver: bool = False,
        tid: int = 1,
        pid: int = PID,
        name: str | None = None,
        external: int | None = None,
    ) -> None:
        cat = "cuda_driver" if driver else "cuda_runtime"
        name = name or ("cuLaunchKernelEx" if driver else "cudaLaunchKernel")
        args = {"correlation": correlation}
        if external is not None:
            args["External id"] = external
        self._add(name, cat, at, 1, pid, tid, **args)

    def kernel(
        self,
        correlation: Any,
        start: int,
        dur: int,
        *,
        name: str = "gemm",
        cat: str = "kernel",
        stream: int = 7,
        device: int = 0,
        **args: Any,
    ) -> None:
        extra = {"device": device, "stream": stream, **args}
        if correlation is not None:
            extra["correlation"] = correlation
        self._add(name, cat, start, dur, device, stream, **extra)

    def write(self, path: Path, *, kineto: bool = True) -> Path:
        if kineto:
            text = self._kineto_text()
        else:
            text = json.dumps({"traceEvents": self.events}, separators=(",", ":"))
        data = text.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    def _kineto_text(self) -> str:
        """Kineto's indentation: each event opens and closes on lines of its own."""
        blocks = []
        for event in self.events:
            head = {k: v for k, v in event.items() if k != "args"}
            fields = ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in head.items())
            args = ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in event["args"].items())
            blocks.append(f'  {{\n    {fields},\n    "args": {{\n      {args}\n    }}\n  }}')
        return (
            '\n  {\n    "schemaVersion": 1,\n  "baseTimeNanoseconds": 0,\n  "traceEvents": [\n'
            + ",\n".join(blocks)
            + '\n  ],\n  "traceName": "/tmp/t.json"\n}\n'
        )
