"""What the dispatcher and tensors keep to themselves: operators, dispatch modes, storages, versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from layerscope.private.names import Feature, PrivateName, is_function, is_of, takes

if TYPE_CHECKING:
    import torch

    Operator = torch._ops.OpOverload

_COUNTING = Feature(
    "counting FLOPs and bytes",
    "No FLOPs, no roofline; a capture's account of time needs none of it.",
)
_REPLAY = Feature("energy by layer", "Leave --energy-per-layer out; energy of whole batches stays.")
_CACHE = Feature(
    "--optimization compile and cudagraphs", "Use --optimization eager, which needs none of it."
)
_TRITON = Feature(
    "the name of a Triton kernel",
    "Its FLOPs are absent and it is listed as the operator that launches it.",
)
_NOTES = Feature(
    "layers of compiled code", "Each compiled part is one row; all else in the account stays."
)
_DISPATCH = "torch.utils._python_dispatch"


def _product() -> Any:
    import torch

    return torch.ops.aten.mm.default


def _packet() -> Any:
    import torch

    return torch.ops.aten.mm


def _zeros() -> torch.Tensor:
    import torch

    return torch.zeros(2)


def _storage() -> object:
    return _zeros().untyped_storage()


def _is_of_products(kind: Any) -> str:
    return "" if isinstance(_product(), kind) else "aten.mm.default is none"


def _is_of_packets(kind: Any) -> str:
    return "" if isinstance(_packet(), kind) else "aten.mm is none"


def _names_operands(schema: Any) -> str:
    names = [argument.name for argument in schema.arguments]
    return "" if names == ["self", "mat2"] else f"aten.mm takes {names}"


def _sees_an_operator(mode: Any) -> str:
    seen = []

    class Mode(mode):  # type: ignore[misc]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    ours = _zeros()
    with Mode():
        ours.mul(2)
    return "" if seen == ["aten.mul.Tensor"] else f"of one multiplication it sees {seen}"


def _finds_none(is_wrapper: Any) -> str:
    return "" if is_wrapper(_zeros()) is False else "it takes a plain tensor for a wrapper"


def _finds_no_class(is_wrapper: Any) -> str:
    import torch

    return "" if is_wrapper(torch.Tensor) is False else "it takes torch.Tensor for a wrapper"


def _knows_kernels(has_kernel: Any) -> str:
    import torch

    key = torch._C.DispatchKey.CompositeImplicitAutograd
    found = has_kernel("aten::linear", key), has_kernel("aten::mm", key)
    return "" if found == (True, False) else f"aten.linear and aten.mm are compositions: {found}"


def _flattens(tree_flatten: Any) -> str:
    leaves, _ = tree_flatten(((1,), {"a": 2}))
    return "" if leaves == [1, 2] else f"the leaves are {leaves}"


def _counts_attention(sdpa_flop_count: Any) -> str:
    shape = (1, 1, 2, 4)
    count = sdpa_flop_count(shape, shape, shape)
    return "" if count == 2 * 2 * 2 * 8 else f"two queries and keys of width 4 take {count}"


def _has_products(registry: Any) -> str:
    return "" if _packet() in registry else "it has no formula of aten.mm"


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


OVERLOAD = PrivateName(
    module="torch._ops",
    path="OpOverload",
    what_for="whether a call is of a registered operator, whose schema tells its operands",
    feature=_COUNTING,
    probe=_is_of_products,
)
PACKET = PrivateName(
    module="torch._ops",
    path="OpOverloadPacket",
    what_for="the same of an operator with all its overloads, as a model may call it",
    feature=_NOTES,
    probe=_is_of_packets,
)
SCHEMA = PrivateName(
    module="torch._ops",
    path="OpOverload._schema",
    what_for="the names of an operator's operands and which of them it writes",
    feature=_COUNTING,
    probe=_names_operands,
    sample=_product,
)
PACKET_OF = PrivateName(
    module="torch._ops",
    path="OpOverload._overloadpacket",
    what_for="under which torch's formulas are registered",
    feature=_COUNTING,
    probe=lambda value: "" if value is _packet() else f"that of aten.mm.default is {value}",
    sample=_product,
)
OPERATOR_NAME = PrivateName(
    module="torch._ops",
    path="OpOverload._opname",
    what_for="whether an operation of a compiled graph is a view",
    feature=_NOTES,
    probe=lambda value: "" if value == "mm" else f"that of aten.mm.default is {value}",
    sample=_product,
)
KERNELS = PrivateName(
    module="torch._ops",
    path="OpOverload.py_kernels",
    what_for="whether Python code decomposes an operator",
    feature=_COUNTING,
    probe=is_of(dict),
    sample=_product,
)
HAS_KERNEL = PrivateName(
    module="torch._C",
    path="_dispatch_has_kernel_for_dispatch_key",
    what_for="whether C++ code decomposes an operator: counted whole it would hide products",
    feature=_COUNTING,
    probe=_knows_kernels,
)
COMPOSITE = PrivateName(
    module="torch._C",
    path="DispatchKey.CompositeImplicitAutograd",
    what_for="the key that decompositions are registered under",
    feature=_COUNTING,
)
MODE = PrivateName(
    module=_DISPATCH,
    path="TorchDispatchMode",
    what_for="sees every operator that runs",
    feature=_COUNTING,
    probe=_sees_an_operator,
)
IS_WRAPPER = PrivateName(
    module=_DISPATCH,
    path="is_traceable_wrapper_subclass",
    what_for="whether a tensor holds others, whose bytes count",
    feature=_COUNTING,
    probe=_finds_none,
)
IS_WRAPPER_CLASS = PrivateName(
    module=_DISPATCH,
    path="is_traceable_wrapper_subclass_type",
    what_for="whether an operator comes again with the tensors inside",
    feature=_COUNTING,
    probe=_finds_no_class,
)
FAKE = PrivateName(
    module="torch._subclasses.fake_tensor",
    path="FakeTensor",
    what_for="whether a tensor has values, which some counts need",
    feature=_COUNTING,
    probe=lambda kind: "" if not isinstance(_zeros(), kind) else "a plain tensor is one",
)
FLATTEN = PrivateName(
    module="torch.utils._pytree",
    path="tree_flatten",
    what_for="the tensors among a call's arguments, for fvcore's tracer",
    feature=_COUNTING,
    probe=_flattens,
)
UNFLATTEN = PrivateName(
    module="torch.utils._pytree",
    path="tree_unflatten",
    what_for="the arguments with other tensors",
    feature=_COUNTING,
    probe=takes("leaves", "treespec"),
)
TRITON_KERNEL = PrivateName(
    module="torch._higher_order_ops.triton_kernel_wrap",
    path="get_kernel",
    what_for="the function of a Triton kernel, to list it by its name",
    feature=_TRITON,
    probe=takes("kernel_idx"),
)
ATTENTION_COUNT = PrivateName(
    module="torch.utils.flop_counter",
    path="sdpa_flop_count",
    what_for="torch's own formula of attention, for kernels that its registry lacks",
    feature=_COUNTING,
    probe=_counts_attention,
)
FORMULAS = PrivateName(
    module="torch.utils.flop_counter",
    path="flop_registry",
    what_for="torch's formulas, and those that someone registered",
    feature=_COUNTING,
    probe=_has_products,
)
MKLDNN = PrivateName(
    module="torch",
    path="_mkldnn",
    what_for="a layout that is neither sparse nor strided: its shape tells the work",
    feature=_COUNTING,
)
STORAGE_KEY = PrivateName(
    module="torch",
    path="UntypedStorage._cdata",
    what_for="which storage a tensor looks at, on the meta device, too",
    feature=_COUNTING,
    probe=is_of(int),
    sample=_storage,
)
INDICES = PrivateName(
    module="torch",
    path="Tensor._indices",
    what_for="the indices of a sparse tensor that is not coalesced",
    feature=_COUNTING,
    probe=is_function,
)
VALUES = PrivateName(
    module="torch",
    path="Tensor._values",
    what_for="its values",
    feature=_COUNTING,
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
    feature=_CACHE,
    probe=_empties,
)
COUNTED = (OVERLOAD, SCHEMA, PACKET_OF, KERNELS, HAS_KERNEL, COMPOSITE, MODE, IS_WRAPPER,
           IS_WRAPPER_CLASS, FAKE, ATTENTION_COUNT, FORMULAS, MKLDNN, STORAGE_KEY, INDICES,
           VALUES)  # fmt: skip
IN_GRAPHS = (OVERLOAD, SCHEMA, PACKET, OPERATOR_NAME)
REPLAYED = (WRITES, COPY_ALL)
NAMES = (*COUNTED, PACKET, OPERATOR_NAME, FLATTEN, UNFLATTEN, TRITON_KERNEL, *REPLAYED, ZERO_ALL)


def operator_class() -> Any:
    """The class of registered operators (`aten.mm.default`). Keep it, to ask of many."""
    return OVERLOAD.get()


def is_operator(target: Any) -> bool:
    """Whether this is a registered operator. `COUNTED` must be required before."""
    import torch

    return isinstance(target, torch._ops.OpOverload)


def is_operator_or_packet(target: Any) -> bool:
    """Whether this is a registered operator, or one with all its overloads (`aten.mm`)."""
    return isinstance(target, (operator_class(), PACKET.get()))


def schema_of(operator: Any) -> Any:
    """Names and roles of an operator's operands; None for one without a schema (higher order)."""
    return getattr(operator, SCHEMA.attribute, None)


def packet_of(operator: Any) -> Any:
    """The operator with all its overloads; itself for one without."""
    return getattr(operator, PACKET_OF.attribute, operator)


def name_of_target(target: Any) -> str:
    """What a graph's operation calls, without its namespace: `mm`, `flex_attention`; "" if unknown."""
    if is_operator(target):
        return str(schema_of(target).name.partition("::")[2])
    return str(getattr(target, "__name__", "") or getattr(target, "_name", ""))


def short_name(target: Any) -> str:
    """The name of an operator without namespace and overload; "" for anything else."""
    return str(getattr(target, OPERATOR_NAME.attribute, ""))


def decomposes(operator: Operator) -> bool:
    """Whether an operator is only a composition of others (CompositeImplicitAutograd)."""
    key = COMPOSITE.get()
    name = operator.name()  # type: ignore[no-untyped-call]
    return key in operator.py_kernels or bool(HAS_KERNEL.get()(name, key))


def dispatch_mode() -> Any:
    """The base class of modes that see every operator."""
    return MODE.get()


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


def triton_kernel(index: int) -> Any:
    """What a higher-order operator launches under this number."""
    return TRITON_KERNEL.get()(index)


def attention_count(*shapes: tuple[int, ...]) -> int:
    """FLOPs of attention over query, key and value of these shapes, by torch's formula."""
    return int(ATTENTION_COUNT.get()(*shapes))


def registered_formulas() -> dict[Any, Callable[..., Any]]:
    """Operator, with all its overloads, -> its registered formula."""
    return dict(FORMULAS.get())


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
