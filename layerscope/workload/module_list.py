"""From a loaded model to its record: every module with its parameters, dtype and group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from layerscope.core.groups import module_group
from layerscope.core.roles import Roles
from layerscope.core.vocabulary import writable_text
from layerscope.models.plain_names import is_compiled_wrapper, plain_fqn
from layerscope.models.roles import roles_of
from layerscope.private.generation import attention_of
from layerscope.records import ModelRecord, ModuleRecord

if TYPE_CHECKING:
    import torch
    from torch import nn

# The configured parts of a vision-language model: name in the record -> attribute of its config.
_PARTS = {"vision": "vision_config", "qformer": "qformer_config", "language": "text_config"}


def list_modules(model: nn.Module, roles: Roles | None = None) -> tuple[ModuleRecord, ...]:
    """Every module in `named_modules()` order, the root first with FQN "".

    `params` counts the parameters a module holds itself; a tied one counts where it is met first,
    so that the sum over all modules is the number of the model's parameters. `dtype` names those
    of all parameters the module holds, tied ones included, and so does `shapes`. `roles` are the
    model's, where they are at hand.
    """
    return records_of(list(model.named_modules()), roles_of(model) if roles is None else roles)


def records_of(modules: Sequence[tuple[str, nn.Module]], roles: Roles) -> tuple[ModuleRecord, ...]:
    """The records of modules by name, as they are now; see `list_modules`."""
    seen: set[int] = set()
    records = []
    for name, module in modules:
        if is_compiled_wrapper(module):
            continue  # its module inside goes by the wrapper's name
        fqn = writable_text(plain_fqn(name))
        own = tuple(module.parameters(recurse=False))
        cls = type(module).__name__
        records.append(
            ModuleRecord(
                fqn=fqn,
                cls=cls,
                group=module_group(fqn, cls, roles),
                params=sum(elements(p) for p in own if id(p) not in seen),
                dtype="+".join(sorted({_name(p.dtype) for p in own})) or None,
                shapes="+".join(_shape(p) for p in own),
            )
        )
        seen.update(id(p) for p in own)
    return tuple(records)


def elements(parameter: torch.Tensor) -> int:
    """Elements of a parameter as the model computes with it; 0 for one that is not initialised yet.

    A 4-bit weight is stored as bytes that hold two elements each; what bitsandbytes keeps of it
    has the shape that it stands for.
    """
    if is_uninitialised(parameter):
        return 0
    shape = _quantized_shape(parameter)
    return int(prod(shape)) if shape is not None else parameter.numel()


def _quantized_shape(parameter: torch.Tensor) -> Sequence[int] | None:
    return getattr(getattr(parameter, "quant_state", None), "shape", None)


def _shape(parameter: torch.Tensor) -> str:
    """As the model computes with it; a number has none and is `1`, an uninitialised one is `?`."""
    if is_uninitialised(parameter):
        return "?"
    shape = _quantized_shape(parameter)
    return "x".join(str(int(n)) for n in (parameter.shape if shape is None else shape)) or "1"


def is_uninitialised(parameter: torch.Tensor) -> bool:
    """Whether it is a lazy module's, whose first call will give it a shape."""
    from torch.nn.parameter import is_lazy

    return bool(is_lazy(parameter))


def attention_in_use(model: nn.Module) -> dict[str, str]:
    """Part -> attention implementation, as the configs of the built model say. Empty if none do."""
    config = getattr(model, "config", None)
    found = {}
    for part, attribute in _PARTS.items():
        implementation = attention_of(getattr(config, attribute, None))
        if implementation is not None:
            found[part] = implementation
    whole = attention_of(config)
    if not found and whole is not None:
        found["model"] = whole
    return found


class Parameters(NamedTuple):
    """A model's parameters, a tied one once: elements, bytes as stored, and elements by dtype."""

    elements: int
    stored_bytes: int
    by_dtype: dict[str, int]


def parameters_of(model: nn.Module) -> Parameters:
    """Count a model's parameters as they are now."""
    parameters = tuple(model.parameters())
    dtypes: Counter[str] = Counter()
    for parameter in parameters:
        dtypes[_name(parameter.dtype)] += elements(parameter)
    return Parameters(
        elements=sum(elements(p) for p in parameters),
        stored_bytes=sum(_stored_bytes(p) for p in parameters),
        by_dtype=dict(sorted(dtypes.items())),
    )


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
    roles, held = roles_of(model), parameters_of(model)
    return ModelRecord(
        name=name,
        source=source,
        cls=type(model).__name__,
        weights=weights,
        trained=trained,
        params=held.elements,
        param_bytes=held.stored_bytes,
        dtypes=held.by_dtype,
        attention=attention_in_use(model),
        modules=list_modules(model, roles),
        roles=dict(roles),
        revision=revision,
    )


def _stored_bytes(parameter: torch.Tensor) -> int:
    return 0 if is_uninitialised(parameter) else parameter.numel() * parameter.element_size()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
