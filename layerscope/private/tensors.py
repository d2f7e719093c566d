"""What tensors keep to themselves: what they hold and where, how often they were written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from layerscope.private.features import COMPILING, COUNTING
from layerscope.private.names import Feature, PrivateName, is_function, is_of, takes

if TYPE_CHECKING:
    import torch

_REPLAY = Feature("energy by layer", "Leave --energy-per-layer out; energy of whole batches stays.")
_DISPATCH = "torch.utils._python_dispatch"


def _zeros() -> torch.Tensor:
    import torch

    return torch.zeros(2)


def _storage() -> object:
    return _zeros().untyped_storage()


def _finds_none(is_wrapper: Any) -> str:
    return "" if is_wrapper(_zeros()) is False else "it takes a plain tensor for a wrapper"


def _finds_no_class(is_wrapper: Any) -> str:
    import torch

    return "" if is_wrapper(torch.Tensor) is False else "it takes torch.Tensor for a wrapper"


def _flattens(tree_flatten: Any) -> str:
    leaves, _ = tree_flatten(((1,), {"a": 2}))
    return "" if leaves == [1, 2] else f"the leaves are {leaves}"


def _counts_writes(_version: Any) -> str:
    tensor = _zeros()
    before = tensor._version
    tensor.add_(1)
    return "" if tensor._version > before else "it does not count a write"


def _copies(foreach_copy: Any) -> str:
    living, values = _zeros(), _zeros() + 1
    foreach_copy([living], [values])
    return "" if living.tolist() == [1, 1] else "it does not copy"


def _empties(foreach_zero: Any) -> str:
    tensor = _zeros() + 1
    foreach_zero([tensor])
    return "" if tensor.tolist() == [0, 0] else "it does not empty"


IS_WRAPPER = PrivateName(
    module=_DISPATCH,
    path="is_traceable_wrapper_subclass",
    what_for="whether a tensor holds others, whose bytes count",
    feature=COUNTING,
    probe=_finds_none,
)
IS_WRAPPER_CLASS = PrivateName(
    module=_DISPATCH,
    path="is_traceable_wrapper_subclass_type",
    what_for="whether an operator comes again with the tensors inside",
    feature=COUNTING,
    probe=_finds_no_class,
)
FAKE = PrivateName(
    module="torch._subclasses.fake_tensor",
    path="FakeTensor",
    what_for="whether a tensor has values, which some counts need",
    feature=COUNTING,
    probe=lambda kind: "" if not isinstance(_zeros(), kind) else "a plain tensor is one",
)
FLATTEN = PrivateName(
    module="torch.utils._pytree",
    path="tree_flatten",
    what_for="the tensors among a call's arguments, for fvcore's tracer",
    feature=COUNTING,
    probe=_flattens,
)
UNFLATTEN = PrivateName(
    module="torch.utils._pytree",
    path="tree_unflatten",
    what_for="the arguments with other tensors",
    feature=COUNTING,
    probe=takes("leaves", "treespec"),
)
MKLDNN = PrivateName(
    module="torch",
    path="_mkldnn",
    what_for="a layout that is neither sparse nor strided: its shape tells the work",
    feature=COUNTING,
)
STORAGE_KEY = PrivateName(
    module="torch",
    path="UntypedStorage._cdata",
    what_for="which storage a tensor looks at, on the meta device, too",
    feature=COUNTING,
    probe=is_of(int),
    sample=_storage,
)
INDICES = PrivateName(
    module="torch",
    path="Tensor._indices",
    what_for="the indices of a sparse tensor that is not coalesced",
    feature=COUNTING,
    probe=is_function,
)
VALUES = PrivateName(
    module="torch",
    path="Tensor._values",
    what_for="its values",
    feature=COUNTING,
    probe=is_function,
)
WRITES = PrivateName(
    module="torch",
    path="Tensor._version",
    what_for="whether a call has changed a tensor that it was given",
    feature=_REPLAY,
    probe=_counts_writes,
)
COPY_ALL = PrivateName(
    module="torch",
    path="_foreach_copy_",
    what_for="put the counters of a cache back before each replay, in one launch",
    feature=_REPLAY,
    probe=_copies,
)
ZERO_ALL = PrivateName(
    module="torch",
    path="_foreach_zero_",
    what_for="empty a static cache in a few launches",
    feature=COMPILING,
    probe=_empties,
)
COUNTED_TENSORS = (IS_WRAPPER, IS_WRAPPER_CLASS, FAKE, MKLDNN, STORAGE_KEY, INDICES, VALUES)
REPLAYED = (WRITES, COPY_ALL)
NAMES = (*COUNTED_TENSORS, FLATTEN, UNFLATTEN, *REPLAYED, ZERO_ALL)


def wrapper_test() -> Callable[[type], bool]:
    """A function that says of a tensor's class whether its tensors hold others. Keep it."""
    found: Callable[[type], bool] = IS_WRAPPER_CLASS.get()
    return found


def is_wrapper(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds others. `COUNTED` must be required before."""
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    return is_traceable_wrapper_subclass(tensor)


def is_fake(tensor: Any) -> bool:
    """Whether a tensor has a shape and no values. `COUNTED` must be required before."""
    from torch._subclasses.fake_tensor import FakeTensor

    return isinstance(tensor, FakeTensor)


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of nested lists, tuples and dictionaries, and their shape for `unflatten`."""
    leaves, shape = FLATTEN.get()(tree)
    return leaves, shape


def unflatten(leaves: Sequence[Any], shape: Any) -> Any:
    """The nest again, with these leaves."""
    return UNFLATTEN.get()(leaves, shape)


def plain_layouts() -> tuple[Any, ...]:
    """The layouts of tensors that store all their elements. `COUNTED` must be required before."""
    import torch

    return torch.strided, torch._mkldnn  # type: ignore[attr-defined]


def storage_key(tensor: torch.Tensor) -> int:
    """Which storage a strided tensor looks at. `COUNTED` must be required before."""
    return int(tensor.untyped_storage()._cdata)


def indices_of(sparse: torch.Tensor) -> torch.Tensor:
    """The indices of a COO tensor, coalesced or not."""
    return sparse._indices()


def values_of(sparse: torch.Tensor) -> torch.Tensor:
    """The values of a COO tensor, coalesced or not."""
    return sparse._values()


def writes_so_far(tensor: torch.Tensor) -> int:
    """How often a tensor was changed in place. `REPLAYED` must be required before."""
    return tensor._version


def copy_all(living: list[torch.Tensor], values: list[torch.Tensor]) -> None:
    """Write each of the second tensors into the first at its place, in one launch.

    `REPLAYED` must be required before.
    """
    import torch

    torch._foreach_copy_(living, values)


def zero_all() -> Callable[[list[torch.Tensor]], Any]:
    """A function that sets tensors of one dtype to zero in one launch. Keep it, for timed windows."""
    found: Callable[[list[torch.Tensor]], Any] = ZERO_ALL.get()
    return found
