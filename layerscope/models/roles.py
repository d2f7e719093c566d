"""A model object in, the roles of its modules out: which is the tower, the decoder, its head.

transformers' models say it themselves (`get_encoder`, `get_decoder`, `get_output_embeddings`); what they
give is found in the model by identity, so that DDP, PEFT or a wrapper of one's own around it changes
nothing. What stands between the towers and the decoder is what is left there: projectors, resamplers
and Q-Formers. Models whose methods say less have a file in `families/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from layerscope.core.roles import Role, Roles, around
from layerscope.core.vocabulary import writable_text
from layerscope.models.families import family_of
from layerscope.models.plain_names import is_compiled_wrapper, plain_fqn
from layerscope.models.towers import towers_of

if TYPE_CHECKING:
    from torch import nn

_MOST_STEPS_DOWN = 8  # a decoder within a language model within a model; more would be a circle


def roles_of(model: nn.Module) -> Roles:
    """The roles of a model's modules, by FQN in `model`; empty for one that says none.

    A model that cannot generate has no decoder: a text model in it is an encoder.
    """
    inner = _speaking(model)
    if inner is None:
        return {}
    names = {id(module): plain_fqn(fqn) for fqn, module in model.named_modules()}
    said: dict[str, Role] = {}
    base = names[id(inner)]

    def note(module: nn.Module | None, role: Role) -> None:
        fqn = names.get(id(module), "") if module is not None else ""
        if fqn and module is not inner:
            said.setdefault(fqn, role)

    for fqn, role in _exceptions(inner).items():
        said[f"{base}.{fqn}" if base else fqn] = role
    decoder = _decoder(inner)
    encoder = _asked(inner, inner.get_encoder) if hasattr(inner, "get_encoder") else None
    for tower, role in towers_of(inner, encoder, decoder, _asked):
        note(tower, role)
    towers = {fqn for fqn, role in said.items() if role in ("vision", "audio")}
    if encoder is not decoder and not _holds(encoder, decoder) and not _holds(decoder, encoder):
        note(encoder, "encoder")
    if _generates(inner) or towers:
        note(decoder, "decoder" if _generates(inner) else "encoder")
    if _generates(inner):
        note(_asked(inner, lambda: inner.get_output_embeddings()), "head")
    if towers:
        for fqn, role in _between(model, base, dict(said)):
            said.setdefault(fqn, role)
    return {writable_text(fqn): role for fqn, role in said.items()}


def model_and_wrappers(model: nn.Module) -> tuple[str, ...]:
    """The FQNs of the model itself and of the wrappers around it, from the outermost, "", inwards.

    A call of one of them is a call of the model. A wrapper has no weights of its own: what has them is a
    model that another one is a part of. A model that says no roles is its only one.
    """
    inner = _speaking(model)
    if inner is None or not _all_within(model, inner):
        return ("",)
    names = [plain_fqn(fqn) for fqn, module in model.named_modules() if module is inner]
    fqn = names[0] if names else ""
    return ("", *sorted(around([fqn]), key=len), *([fqn] if fqn else []))


def _speaking(model: nn.Module) -> Any:
    """The outermost module that says its decoder, and not for another one; None where none does."""
    speaking = [module for _, module in model.named_modules() if _speaks(module)]
    for module in speaking:
        if _is_of_transformers(module):
            return module
        # A wrapper may speak for the model in it, and say less than that.
        inside = (other for other in speaking if other is not module and _holds(module, other))
        if not any(_all_within(module, other) for other in inside):
            return module
    return None


def _speaks(module: nn.Module) -> bool:
    # Of the class: a wrapper that passes unknown names on would answer for the model in it.
    return hasattr(type(module), "get_decoder") and hasattr(type(module), "get_output_embeddings")


def _is_of_transformers(module: nn.Module) -> bool:
    return any(base.__name__ == "PreTrainedModel" for base in type(module).__mro__)


def _all_within(outer: nn.Module, inner: nn.Module) -> bool:
    """Whether every weight of one module is one of a module in it."""
    held = {id(parameter) for parameter in inner.parameters()}
    return all(id(parameter) in held for parameter in outer.parameters())


def _asked(owner: nn.Module, ask: Callable[[], Any]) -> Any:
    """What a model says of itself; None where it says nothing, or itself."""
    try:
        found = ask()
    except Exception:  # whatever a model's own method raises, it has not said anything
        return None
    return None if found is owner else found


def _decoder(model: Any) -> Any:
    """The innermost decoder: that of a whole encoder-decoder is asked for its own."""
    found = _asked(model, model.get_decoder)
    for _ in range(_MOST_STEPS_DOWN):
        if found is None:
            return None
        deeper = _asked(found, found.get_decoder) if hasattr(found, "get_decoder") else None
        if deeper is None or not _holds(found, deeper):
            own = dict(found.named_children()).get("decoder")
            deeper = own if own is not None and hasattr(found, "encoder") else None
        if deeper is None:
            return found
        found = deeper
    return found


def _holds(outer: nn.Module | None, inner: nn.Module | None) -> bool:
    return (
        outer is not None
        and inner is not None
        and outer is not inner
        and any(module is inner for module in outer.modules())
    )


def _generates(model: nn.Module) -> bool:
    can = getattr(type(model), "can_generate", None)
    return bool(can()) if can is not None else callable(getattr(model, "generate", None))


def _exceptions(model: nn.Module) -> dict[str, Role]:
    kind = str(getattr(getattr(model, "config", None), "model_type", ""))
    family = family_of(kind)
    present = {fqn for fqn, _ in model.named_modules()}
    found: dict[str, Role] = getattr(family, "EXCEPTIONS", {})
    return {fqn: role for fqn, role in found.items() if fqn in present}


def _between(model: nn.Module, base: str, said: dict[str, Role]) -> Iterator[tuple[str, Role]]:
    """Modules of the model `base` beside a tower that hold weights, have no role and embed no text."""
    towers = [fqn for fqn, role in said.items() if role in ("vision", "audio")]
    # What stands beside the model itself, in a wrapper, is not between anything.
    holders, outer = (
        {*around(towers), base} - {*around([base]), *([""] if base else [])},
        around(said),
    )
    inside = tuple(f"{fqn}." for fqn in said)
    for name, module in model.named_modules():
        fqn, (above, _, leaf) = plain_fqn(name), plain_fqn(name).rpartition(".")
        if not fqn or is_compiled_wrapper(module) or above not in holders or fqn in outer:
            continue
        if fqn in said or fqn.startswith(inside):
            continue
        cls = type(module).__name__
        if (
            "Embedding" in cls
            or "norm" in leaf.lower()
            or not any(True for _ in module.parameters())
        ):
            continue
        yield fqn, "qformer" if "qformer" in cls.lower() else "projection"
