"""Wrappers as people put them around a model's root; each leaves the model as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Wrapped:
    """A wrapper, the FQN of the model in it, and how its users call `generate()`."""

    module: nn.Module
    prefix: str
    generate: Callable[..., Any]


class _Passing(nn.Module):
    """Passes unknown names on to the model in it."""

    inner_name = ""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == self.inner_name:
                raise
            return getattr(getattr(self, self.inner_name), name)


class _Tuner(_Passing):
    """As PEFT's LoraModel: holds the model as `model`."""

    inner_name = "model"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)


class PeftLike(_Passing):
    """As PEFT's PeftModel: `base_model.model` is the model, and `generate` its own method."""

    inner_name = "base_model"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = _Tuner(model)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.generate(*args, **kwargs)


class Plain(nn.Module):
    """A module of someone's own, which has a forward and nothing else."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.net(*args, **kwargs)


class Answering(nn.Module):
    """Its forward is the model's generate()."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, **inputs: Any) -> Any:
        return self.net.generate(**inputs)


class Delegating(nn.Module):
    """Says of the model in it, itself, what is asked for most."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.config = net.config

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.net(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.net.generate(*args, **kwargs)

    def get_decoder(self) -> Any:
        return self.net.get_decoder()

    def get_output_embeddings(self) -> Any:
        return self.net.get_output_embeddings()


@contextmanager
def process_group(folder: Path) -> Iterator[None]:
    """One process by itself, over gloo."""
    import torch.distributed as dist

    store = dist.FileStore(str(folder / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def wrapped_in(kind: str, model: Any) -> Wrapped:
    """The model in a wrapper of this kind; `ddp` needs a `process_group`."""
    if kind == "peft":
        peft = PeftLike(model)
        return Wrapped(peft, "base_model.model.", peft.generate)
    if kind == "ddp":
        ddp = torch.nn.parallel.DistributedDataParallel(model)
        return Wrapped(ddp, "module.", lambda **k: ddp.module.generate(**k))
    if kind == "data_parallel":
        parallel: Any = nn.DataParallel(model)
        return Wrapped(parallel, "module.", lambda **k: parallel.module.generate(**k))
    if kind == "both":
        inside = PeftLike(model)
        both = torch.nn.parallel.DistributedDataParallel(inside)
        return Wrapped(both, "module.base_model.model.", lambda **k: both.module.generate(**k))
    if kind == "delegating":
        delegating = Delegating(model)
        return Wrapped(delegating, "net.", lambda **k: delegating.generate(**k))
    if kind == "answering":
        answering = Answering(model)
        return Wrapped(answering, "net.", answering)
    plain: Any = Plain(model)
    return Wrapped(plain, "net.", lambda **k: plain.net.generate(**k))
