"""Runs before the first line of a program that `layerscope run` started; waits until it imports torch.

Python imports a module of this name at every start. It gives way to the user's own, if there is one,
and does nothing else until torch is there. Nothing but the standard library is imported here, and no
error of ours may reach the program.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_KEY = "LAYERSCOPE_RUN"


class _UntilTorch(importlib.abc.MetaPathFinder):
    """Finds torch as it would be found anyway, and looks on when it has been imported."""

    def find_spec(
        self, name: str, path: object, target: object = None
    ) -> "importlib.machinery.ModuleSpec | None":
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        run = loader.exec_module

        def run_and_look(module: object) -> None:
            run(module)
            _look()

        loader.exec_module = run_and_look
        return spec


def _look() -> None:
    try:
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(_HERE))))
        known = list(sys.path)
        sys.path.append(root)  # behind all else: where layerscope is installed, that one is taken
        try:
            from layerscope.run.program.looking import look
        finally:
            sys.path[:] = known
        look(os.environ[_KEY])
    except Exception as error:
        _note(f"{type(error).__name__}: {error}")


def _note(text: str) -> None:
    try:
        spool = os.environ[_KEY].partition(os.pathsep)[0]
        with open(os.path.join(spool, f"{os.getpid()}.note"), "a", encoding="utf-8") as file:
            file.write(text.splitlines()[0] + "\n")
    except OSError:
        pass


def _give_way() -> None:
    """Take this folder out of the path, and import the module of this name that it stood before."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")  # the user's
    except ImportError as error:
        if ours is not None:
            sys.modules["sitecustomize"] = ours
        if error.name != "sitecustomize":
            raise


if _KEY in os.environ:
    sys.meta_path.insert(0, _UntilTorch())
    _give_way()
