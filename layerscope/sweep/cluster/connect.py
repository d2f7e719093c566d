"""An address in, a process connected to that Ray cluster out; every way it fails in one line."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerscope.core.errors import EnvironmentProblem, UsageError
from layerscope.core.words import first_line

_ADDRESS_VARIABLE = "RAY_ADDRESS"
_REACH_S = 5.0
# Only run folders go through it, and those of one machine lie on its own disk.
_LOCAL_STORE_BYTES = 128 << 20


def import_ray() -> Any:
    """The ray package.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise EnvironmentProblem(
            f"--executor ray: ray cannot be imported ({error}); install it with "
            "`pip install 'layerscope[ray]'`, on every node."
        ) from None
    return ray


def check_address(address: str | None) -> None:
    """Refuse what no cluster can be reached by, before anything is loaded.

    Raises:
        UsageError: a Ray Client address, or none at all.
    """
    if address is None or address in ("auto", "local"):
        return
    if "://" in address:
        raise UsageError(
            f"--address {address}: give HOST:PORT, and run the command on a machine of the cluster."
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--address {address}: HOST:PORT, auto or local was expected.")


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connected to the cluster at `address` inside, and not after.

    Args:
        address: HOST:PORT; "auto", a cluster on this machine; "local", this machine alone with all
            its GPUs; None: as RAY_ADDRESS says, else a cluster on this machine, else "local".

    Raises:
        EnvironmentProblem: no cluster answers there, or Ray refuses the connection.
    """
    target = _target(address)
    # Ray reports usage over the network unless told not to; nothing here asked the user.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if target == "local":
        # Ray listens on every interface; since 2.60, the least we ask for, it starts with a token.
        options |= {"include_dashboard": False, "object_store_memory": _LOCAL_STORE_BYTES}
    with _own_sigterm():
        try:
            ray.init(address=target, **options)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            why = first_line(error, longest=None).rstrip(".")
            raise EnvironmentProblem(
                f"--executor ray: {target}: {why}. Every machine needs the same Ray and "
                "Python, and RAY_AUTH_MODE=token where the cluster asks for a token."
            ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _target(address: str | None) -> str:
    said = address or os.environ.get(_ADDRESS_VARIABLE) or None
    check_address(said)
    if said == "local":
        return said
    if said is None or said == "auto":
        found = _of_this_machine()
        if found is not None and _answers(found):
            # By this name, not by its address: only so does Ray use the machine's token for it.
            return "auto"
        if said is None:
            return "local"
        raise EnvironmentProblem(
            "--executor ray: no Ray cluster runs on this machine; start one with `ray start --head`, "
            "or give --address HOST:PORT."
        )
    # Ray itself waits for minutes where nothing listens.
    if not _answers(said):
        raise EnvironmentProblem(
            f"--executor ray: nothing answers at {said} within {_REACH_S:.0f} s; `ray status` on "
            "the head node says the address."
        )
    return said


def _of_this_machine() -> str | None:
    """The cluster that `ray start` wrote down here. It stays after a killed one."""
    path = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"  # noqa: S108 Ray's own
    try:
        found = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return found or None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray's handler would end the command at once, without the sweep's own last lines."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
