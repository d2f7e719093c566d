"""From a loaded model to its record: every module with its parameters, dtype and group."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from layerscope.records import ModelRecord, ModuleRecord
from layerscope.taxonomy import group_of

if TYPE_CHECKING:
    import torch
    from torch import nn

# The configured parts of a vision-language model: name in the record -> attribute of its config.
_PARTS = {"vision": "vision_config", "qformer": "qformer_config", "language": "text_config"}


def is_compiled_wrapper(module: nn.Module) -> bool:
    """Whether `torch.compile(module)` made it: the module itself is its `_orig_mod`."""
    return "_orig_mod" in module._modules and type(module).__name__ == "OptimizedModule"


def plain_fqn(name: str) -> str:
    """A module's name as it is without `torch.compile`, which puts `_orig_mod` into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def list_modules(model: nn.Module) -> tuple[ModuleRecord, ...]:
    """Every module in `named_modules()` order, the root first with FQN "".

    `params` counts the parameters a module holds itself; a tied one counts where it is met first,
    so that the sum over all modules is the number of the model's parameters. `dtype` names those
    of all parameters the module holds, tied ones included.
    """
    seen: set[int] = set()
    records = []
    for name, module in model.named_modules():
        if is_compiled_wrapper(module):
            continue  # its module inside goes by the wrapper's name
        fqn = plain_fqn(name)
        own = tuple(module.parameters(recurse=False))
        cls = type(module).__name__
        records.append(
            ModuleRecord(
                fqn=fqn,
                cls=cls,
                group=group_of(fqn, cls),
                params=sum(p.numel() for p in own if id(p) not in seen),
                dtype="+".join(sorted({_name(p.dtype) for p in own})) or None,
            )
        )
        seen.update(id(p) for p in own)
    return tuple(records)


def attention_in_use(model: nn.Module) -> dict[str, str]:
    """Part -> attention implementation, as the configs of the built model say. Empty if none do."""
    config = getattr(model, "config", None)
    found = {}
    for part, attribute in _PARTS.items():
        implementation = getattr(getattr(config, attribute, None), "_attn_implementation", None)
        if implementation is not None:
            found[part] = str(implementation)
    if not found and getattr(config, "_attn_implementation", None) is not None:
        found["model"] = str(getattr(config, "_attn_implementation", None))
    return found


def model_record(
    model: nn.Module,
    *,
    name: str,
    source: str,
    weights: str,
    trained: bool,
    revision: str | None = None,
) -> ModelRecord:
    """The record of a model as it stands in memory.

    Args:
        model: the model, loaded.
        name: what the user called it.
        source: `hub`, `folder`, `architecture` or `bundled`.
        weights: one sentence on where the weights come from.
        trained: whether its predictions mean anything.
        revision: commit hash on the hub, where it has one.
    """
    parameters = tuple(model.parameters())
    dtypes: Counter[str] = Counter()
    for parameter in parameters:
        dtypes[_name(parameter.dtype)] += parameter.numel()
    return ModelRecord(
        name=name,
        source=source,
        cls=type(model).__name__,
        weights=weights,
        trained=trained,
        params=sum(p.numel() for p in parameters),
        param_bytes=sum(p.numel() * p.element_size() for p in parameters),
        dtypes=dict(sorted(dtypes.items())),
        attention=attention_in_use(model),
        modules=list_modules(model),
        revision=revision,
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
