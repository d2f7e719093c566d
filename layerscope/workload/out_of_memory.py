"""An allocation that failed and the model it failed in go in, a refusal the user can act on comes out.

Everything is read from the traceback after the failure, so a run that succeeds pays nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.steps import NONE, Calls, phase_of_open_call
from layerscope.core.units import size_text
from layerscope.core.vocabulary import ROOT_FORWARD, ROOT_GENERATE
from layerscope.models.plain_names import plain_fqn
from layerscope.models.roles import model_and_wrappers, roles_of
from layerscope.private.generation import calls_prefill, is_prefill

if TYPE_CHECKING:
    from torch import nn

# torch.OutOfMemoryError is CUDA's; the CPU allocator raises a plain RuntimeError with this in it.
_CPU_MARK = "DefaultCPUAllocator"
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) ?(bytes|[KMG]iB)")
_UNIT_BYTES = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
# The allocator loses some memory to fragments, and later phases may need more than this one did.
_USABLE = 0.9


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is an allocation that failed, on a CUDA device or on the CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _CPU_MARK in str(error)
    )


@contextmanager
def refusing_out_of_memory(what: str, batch: int) -> Iterator[None]:
    """Turn an allocation that fails inside, where no model runs, into a refusal that names `what`.

    Raises:
        EnvironmentProblem: the allocation failed.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise EnvironmentProblem(
            f"{what} ran out of memory at batch {batch} ({_asked_words(error)}); "
            f"{_advice(batch, None)}"
        ) from None


def model_out_of_memory(error: BaseException, model: nn.Module, batch: int) -> EnvironmentProblem:
    """The refusal of a batch that `generate()` had no memory for: the phase, the layer, what fits."""
    phase, layer = place_of(error, model)
    where = f"in {layer}" if layer else "outside its modules"
    return EnvironmentProblem(
        f"generate() ran out of memory in phase {phase}, {where}, at batch {batch} "
        f"({_asked_words(error)}); {_advice(batch, _measured_fit(error, model, batch))}"
    )


def place_of(error: BaseException, model: nn.Module) -> tuple[str, str]:
    """The phase that was running when `error` was raised, and the innermost layer's FQN ("": none).

    The frames of the traceback hold the modules whose calls had not returned, and whether generate()
    was in its prefill or behind it. In a loop of another kind, where neither shows, the phase of what is
    of a decoder step is `prefill or decode`.
    """
    names = {id(module): fqn for fqn, module in model.named_modules()}
    wrappers = model_and_wrappers(model)
    calls, layer = Calls(roles_of(model)), ""
    call = calls.add("", NONE, ROOT_GENERATE)
    in_prefill = in_loop = False
    for frame in _frames(error.__traceback__):
        steps = _steps_of_own_loop(frame)
        in_prefill = in_prefill or is_prefill(frame) or steps == 0
        in_loop = in_loop or calls_prefill(frame) or bool(steps)
        if fqn := names.get(id(frame.f_locals.get("self"))):
            layer, plain = fqn, plain_fqn(fqn)
            call = calls.add(plain, call, ROOT_FORWARD if plain in wrappers else "")
    if not layer:
        return ROOT_GENERATE, ""
    last = calls.items[call]
    return phase_of_open_call(last, in_prefill=in_prefill, after_prefill=in_loop), layer


def _steps_of_own_loop(frame: FrameType) -> int | None:
    """The steps done so far in layerscope's own greedy loop; None for any other frame."""
    from layerscope.workload.greedy_loop import GreedyLoop

    loop = frame.f_locals.get("self")
    return loop.steps if isinstance(loop, GreedyLoop) else None


def fitting_batch(
    batch: int, *, fixed_bytes: int, held_bytes: int, asked_bytes: int, capacity_bytes: int
) -> int:
    """The largest power of two below `batch` that would have passed where the allocation failed.

    What a batch takes beside the parameters grows in proportion to its size.

    Args:
        batch: the size that failed.
        fixed_bytes: the parameters and buffers.
        held_bytes: allocated when it failed, the parameters included.
        asked_bytes: the allocation that failed.
        capacity_bytes: what the process could have had in all.

    Returns:
        0 when not even one sample would have passed.
    """
    used = max(1, held_bytes - fixed_bytes + asked_bytes)
    room = max(0.0, capacity_bytes * _USABLE - fixed_bytes)
    limit = min(batch - 1, int(batch * room / used))
    return 1 << (limit.bit_length() - 1) if limit >= 1 else 0


def asked_bytes(error: BaseException) -> int | None:
    """The size of the allocation that failed, from the allocator's message; None if not said."""
    found = _ASKED.search(str(error))
    return int(float(found[1]) * _UNIT_BYTES[found[2]]) if found else None


def _measured_fit(error: BaseException, model: nn.Module, batch: int) -> int | None:
    """`fitting_batch` from the CUDA allocator's counters; None where there are none."""
    import torch

    asked = asked_bytes(error)
    first = next(model.parameters(), None)
    if asked is None or first is None or not first.is_cuda:
        return None
    # The traceback still holds every tensor of the call, so the counters show the moment itself.
    free, _ = torch.cuda.mem_get_info(first.device)
    tensors = {t.data_ptr(): t.nbytes for t in (*model.parameters(), *model.buffers())}
    return fitting_batch(
        batch,
        fixed_bytes=sum(tensors.values()),
        held_bytes=torch.cuda.memory_allocated(first.device),
        asked_bytes=asked,
        capacity_bytes=free + torch.cuda.memory_reserved(first.device),
    )


def _advice(batch: int, fit: int | None) -> str:
    if fit is not None and fit >= 1:
        return f"--batch {fit} should fit."
    if fit == 0 or batch == 1:
        return "not even one sample fits; use a smaller --image-size, --max-input-len or --dtype."
    return f"try --batch {batch // 2}."


def _asked_words(error: BaseException) -> str:
    asked = asked_bytes(error)
    return "an allocation failed" if asked is None else f"{size_text(asked, 'MiB')} refused"


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next
