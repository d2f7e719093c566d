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
        for fqn, role in _between(model, dict(said)):
            said.setdefault(fqn, role)
    return {writable_text(fqn): role for fqn, role in said.items()}


def _speaking(model: nn.Module) -> Any:
    """The outermost module that says its decoder; None where none does."""
    for _, module in model.named_modules():
        # Of the class: a wrapper that passes unknown names on would answer for the model in it.
        if hasattr(type(module), "get_decoder") and hasattr(type(module), "get_output_embeddings"):
            return module
    return None


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
    found: dict[str, Role] = family.EXCEPTIONS if family is not None else {}
    return {fqn: role for fqn, role in found.items() if fqn in present}


def _between(model: nn.Module, said: dict[str, Role]) -> Iterator[tuple[str, Role]]:
    """Modules beside a tower that hold weights, have no role and are no embedding of text."""
    towers = [fqn for fqn, role in said.items() if role in ("vision", "audio")]
    holders, outer = {*around(towers), ""}, around(said)
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
