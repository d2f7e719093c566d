"""What the dispatcher keeps to itself: operators and their schemas, modes that see them, formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from layerscope.private.features import COUNTING, NOTES
from layerscope.private.names import Feature, PrivateName, is_of, takes
from layerscope.private.tensors import COUNTED_TENSORS

if TYPE_CHECKING:
    import torch

    Operator = torch._ops.OpOverload

_TRITON = Feature(
    "the name of a Triton kernel",
    "Its FLOPs are absent and it is listed as the operator that launches it.",
)


def _product() -> Any:
    import torch

    return torch.ops.aten.mm.default


def _packet() -> Any:
    import torch

    return torch.ops.aten.mm


def _is_of_products(kind: Any) -> str:
    return "" if isinstance(_product(), kind) else "aten.mm.default is none"


def _is_of_packets(kind: Any) -> str:
    return "" if isinstance(_packet(), kind) else "aten.mm is none"


def _names_operands(schema: Any) -> str:
    names = [argument.name for argument in schema.arguments]
    return "" if names == ["self", "mat2"] else f"aten.mm takes {names}"


def _sees_an_operator(mode: Any) -> str:
    import torch

    seen = []

    class Mode(mode):  # type: ignore[misc]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    ours = torch.zeros(2)
    with Mode():
        ours.mul(2)
    return "" if seen == ["aten.mul.Tensor"] else f"of one multiplication it sees {seen}"


def _knows_kernels(has_kernel: Any) -> str:
    import torch

    key = torch._C.DispatchKey.CompositeImplicitAutograd
    found = has_kernel("aten::linear", key), has_kernel("aten::mm", key)
    return "" if found == (True, False) else f"aten.linear and aten.mm are compositions: {found}"


def _has_products(registry: Any) -> str:
    return "" if _packet() in registry else "it has no formula of aten.mm"


OVERLOAD = PrivateName(
    module="torch._ops",
    path="OpOverload",
    what_for="whether a call is of a registered operator, whose schema tells its operands",
    feature=COUNTING,
    probe=_is_of_products,
)
PACKET = PrivateName(
    module="torch._ops",
    path="OpOverloadPacket",
    what_for="the same of an operator with all its overloads, as a model may call it",
    feature=NOTES,
    probe=_is_of_packets,
)
SCHEMA = PrivateName(
    module="torch._ops",
    path="OpOverload._schema",
    what_for="the names of an operator's operands and which of them it writes",
    feature=COUNTING,
    probe=_names_operands,
    sample=_product,
)
PACKET_OF = PrivateName(
    module="torch._ops",
    path="OpOverload._overloadpacket",
    what_for="under which torch's formulas are registered",
    feature=COUNTING,
    probe=lambda value: "" if value is _packet() else f"that of aten.mm.default is {value}",
    sample=_product,
)
OPERATOR_NAME = PrivateName(
    module="torch._ops",
    path="OpOverload._opname",
    what_for="whether an operation of a compiled graph is a view",
    feature=NOTES,
    probe=lambda value: "" if value == "mm" else f"that of aten.mm.default is {value}",
    sample=_product,
)
KERNELS = PrivateName(
    module="torch._ops",
    path="OpOverload.py_kernels",
    what_for="whether Python code decomposes an operator",
    feature=COUNTING,
    probe=is_of(dict),
    sample=_product,
)
HAS_KERNEL = PrivateName(
    module="torch._C",
    path="_dispatch_has_kernel_for_dispatch_key",
    what_for="whether C++ code decomposes an operator: counted whole it would hide products",
    feature=COUNTING,
    probe=_knows_kernels,
)
COMPOSITE = PrivateName(
    module="torch._C",
    path="DispatchKey.CompositeImplicitAutograd",
    what_for="the key that decompositions are registered under",
    feature=COUNTING,
)
MODE = PrivateName(
    module="torch.utils._python_dispatch",
    path="TorchDispatchMode",
    what_for="sees every operator that runs",
    feature=COUNTING,
    probe=_sees_an_operator,
)
TRITON_KERNEL = PrivateName(
    module="torch._higher_order_ops.triton_kernel_wrap",
    path="get_kernel",
    what_for="the function of a Triton kernel, to list it by its name",
    feature=_TRITON,
    probe=takes("kernel_idx"),
)
FORMULAS = PrivateName(
    module="torch.utils.flop_counter",
    path="flop_registry",
    what_for="torch's formulas, and those that someone registered",
    feature=COUNTING,
    probe=_has_products,
)
COUNTED = (OVERLOAD, SCHEMA, PACKET_OF, KERNELS, HAS_KERNEL, COMPOSITE, MODE, FORMULAS,
           *COUNTED_TENSORS)  # fmt: skip
IN_GRAPHS = (OVERLOAD, SCHEMA, PACKET, OPERATOR_NAME)
NAMES = (OVERLOAD, PACKET, SCHEMA, PACKET_OF, OPERATOR_NAME, KERNELS, HAS_KERNEL, COMPOSITE, MODE,
         TRITON_KERNEL, FORMULAS)  # fmt: skip


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


def triton_kernel(index: int) -> Any:
    """What a higher-order operator launches under this number."""
    return TRITON_KERNEL.get()(index)


def registered_formulas() -> dict[Any, Callable[..., Any]]:
    """Operator, with all its overloads, -> its registered formula."""
    return dict(FORMULAS.get())
