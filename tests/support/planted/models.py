"""Small models of the kinds that vision-language models are made of; no file is needed for them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

WIDTH = 48


class Attention(nn.Module):
    """Attention over itself, or over another sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        key, value = self.key_value(memory).chunk(2, -1)
        heads = [
            part.unflatten(-1, (4, -1)).transpose(1, 2) for part in (self.query(x), key, value)
        ]
        mixed = functional.scaled_dot_product_attention(*heads)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Gated(nn.Module):
    """A gated feed-forward network without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(WIDTH, 96, bias=False) for _ in range(2))
        self.down = nn.Linear(96, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    """Residual attention, attention over a memory where there is one, residual feed-forward."""

    def __init__(self, *, cross: bool = False) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3 if cross else 2))
        self.attention = Attention()
        self.cross = Attention() if cross else None
        self.ffn = Gated()

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        hidden = self.norms[0](x)
        x = x + self.attention(hidden, hidden)
        if self.cross is not None and memory is not None:
            x = x + self.cross(self.norms[2](x), memory)
        out: torch.Tensor = x + self.ffn(self.norms[1](x))
        return out


class Tower(nn.Module):
    """A vision tower: patches by a convolution, blocks, a norm."""

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 8, 8)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.norm(x)
        return out


class Captioner(nn.Module):
    """A tower, a projector and a decoder that attends to the tower; its head is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = Tower()
        self.projector = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.embed = nn.Embedding(100, WIDTH)
        self.decoder = nn.ModuleDict({f"layer_{i}": Block(cross=True) for i in range(2)})
        self.head = nn.Linear(WIDTH, 100, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        memory = self.projector(self.tower(pixels))
        x = self.embed(tokens)
        for block in self.decoder.values():
            x = block(x, memory)
        out: torch.Tensor = self.head(x)
        return out


class Experts(nn.Module):
    """Feed-forward experts weighed by a router, deep in containers; one expert is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, 3)
        self.banks = nn.ModuleDict({"routed": nn.ModuleList(Gated() for _ in range(3))})
        self.shared = nn.Sequential(nn.LayerNorm(WIDTH), Gated())
        self.out = nn.Linear(WIDTH, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.router(x).softmax(-1)
        x = self.shared(x)
        for index, expert in enumerate(self.banks.get_submodule("routed").children()):
            x = x + weights[..., index : index + 1] * expert(x)
        out: torch.Tensor = self.out(self.shared(x))
        return out


class Replicas(nn.Module):
    """Copies of a model, each called by a thread of its own."""

    def __init__(self, copies: list[nn.Module]) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copies)
