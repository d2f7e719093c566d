"""A run's configuration in, its loaded model out: the same object as long as runs can share it."""

from __future__ import annotations

import contextlib
import gc

import torch

from layerscope.config.plan import LoadKey, load_key
from layerscope.core.errors import LayerscopeError
from layerscope.passes.load import Announce, Load
from layerscope.records import RunConfig
from layerscope.workload.model import LoadedModel, check_inputs, load_model

# A second equal refusal is not about one cell's inputs: the rest of the group is not tried.
_TRIES = 2


class KeptModel:
    """Loads a model for the first run that asks and hands it to all that can share it.

    Attributes:
        loads: how many models were loaded.
    """

    def __init__(self, load: Load = load_model) -> None:
        self._load = load
        self._key: LoadKey | None = None
        self._model: LoadedModel | None = None
        self._refused: dict[LoadKey, list[LayerscopeError]] = {}
        self.loads = 0

    def __call__(self, config: RunConfig, announce: Announce) -> LoadedModel:
        """The model of this run.

        Raises:
            LayerscopeError: it cannot be loaded, or cannot take this run's inputs.
        """
        key = load_key(config)
        if self._model is not None and self._key == key:
            check_inputs(config, self._model.model.config)
            return self._model
        self.drop()
        self._refuse_again(key)
        try:
            loaded = self._load(config, announce)
        except LayerscopeError as error:
            # Without its traceback, whose frames may hold a half-loaded model.
            self._refused.setdefault(key, []).append(type(error)(str(error)))
            raise
        self.loads += 1
        self._key, self._model = key, loaded
        return loaded

    def drop(self) -> None:
        """Let go of the model, before another takes the memory."""
        self._key = self._model = None
        free_memory()

    def _refuse_again(self, key: LoadKey) -> None:
        errors = self._refused.get(key, [])
        last = errors[-_TRIES:]
        if len(last) == _TRIES and len({str(error) for error in last}) == 1:
            raise last[-1]


def free_memory() -> None:
    """Give back what no object holds: the next model's check looks at the driver's free memory."""
    gc.collect()
    # A lost device raises here; it has no memory to give back, and other devices go on.
    with contextlib.suppress(RuntimeError):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
