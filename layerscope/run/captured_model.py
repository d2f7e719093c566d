"""A model as a captured block found it and as it left it in, its modules and what changed out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from layerscope.instrument.ranges import LayerRanges
from layerscope.models.roles import roles_of
from layerscope.records.run_record import ModelRecord, ModuleRecord
from layerscope.workload.module_list import (
    attention_in_use,
    is_uninitialised,
    parameters_of,
    records_of,
)

_MOST_NAMED = 5


class CapturedModel:
    """The modules of a model when the block began.

    Attributes:
        roles: of the modules, by FQN.
        warnings: what changed inside, in words; known once the block has ended.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._at_start = list(model.named_modules())
        self.roles = roles_of(model)
        self._records = records_of(self._at_start, self.roles)
        self._lazy = any(is_uninitialised(p) for p in model.parameters())
        self.warnings: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The FQN of every module."""
        return [fqn for fqn, _ in self._at_start]

    def modules(self) -> tuple[ModuleRecord, ...]:
        """The modules' records; of lazy modules, as their first call made them."""
        if not self._lazy:
            return self._records
        return records_of(self._at_start, self.roles)

    def record(self) -> ModelRecord:
        """The model's record, as it is now; of its modules those that were there at the start."""
        modules = self.modules()
        cls = next((m.cls for m in modules if not m.fqn), type(self._model).__name__)
        held = parameters_of(self._model)
        return ModelRecord(
            name=cls,
            source="program",
            cls=cls,
            weights="weights as the program had them",
            trained=None,
            params=held.elements,
            param_bytes=held.stored_bytes,
            dtypes=held.by_dtype,
            attention=attention_in_use(self._model),
            modules=modules,
            roles=dict(self.roles),
        )

    def look_back(self, ranges: LayerRanges) -> None:
        """Say what the block changed; the ranges are still in place."""
        found = []
        changed = ranges.changed()
        if changed:
            found.append(
                f"{_listed(changed)} changed inside the captured block and left as it set them; "
                "calls that went by it have no range of their own"
            )
        known = {id(module) for _, module in self._at_start}
        added = [fqn for fqn, module in self._model.named_modules() if id(module) not in known]
        if added:
            found.append(
                f"{_listed(added)}: put into the model inside the captured block, so without a range; "
                "their time is their callers'"
            )
        self.warnings = tuple(found)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
