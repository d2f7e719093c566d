"""A log folder in, TensorBoard's "Layers" tab out: the routes that serve the page and run files."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import exceptions
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from layerscope.core.columns import COLUMNS
from layerscope.tab.open_runs import OpenRuns, written_table
from layerscope.tab.own_page import OwnPage
from layerscope.tab.runs import FILES, RunList
from layerscope.tab.sweeps import SweepList

_TYPES = {".js": "text/javascript", ".css": "text/css"}
_FILE_TYPES = {".csv": "text/csv", ".json": "application/json"}

Answer = Callable[[Request], Response]
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class LayersPlugin(base_plugin.TBPlugin):  # type: ignore[misc]  # TensorBoard carries no types
    """The tab. It is active as soon as the log folder holds a run, and lists new ones as they come."""

    plugin_name = "layerscope"

    def __init__(self, context: base_plugin.TBContext) -> None:
        # Empty under --logdir_spec. A folder may come later; a URL of remote storage never holds runs.
        logdir = context.logdir or ""
        self._runs = RunList(Path(logdir).absolute()) if logdir else None
        self._open = OpenRuns()
        self._sweeps = SweepList(Path(logdir).absolute()) if logdir else None
        self._own = OwnPage(getattr(context.flags, "host", None) or "")

    def is_active(self) -> bool:
        """Whether there is a run or a sweep to show; finds a file and opens nothing."""
        if self._runs is None or self._sweeps is None:
            return False
        return self._runs.any() or self._sweeps.any()

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab's name and its page; the page reloads by itself, without losing its state."""
        return base_plugin.FrontendMetadata(
            es_module_path="/index.js", tab_name="Layers", disable_reload=True
        )

    def get_plugin_apps(self) -> dict[str, App]:
        """A route for each file of the page, for runs and their files, for sweeps and theirs."""
        # Exact names read once from the package: no request ever becomes a path in it.
        answers = {f"/{name}": _page(name, body) for name, body in _assets().items()}
        answers |= {
            "/columns": _columns,
            "/runs": self._list,
            "/file": self._file,
            "/trace": self._trace,
            "/window": self._window,
            "/perfetto": self._perfetto,
            "/sweeps": self._list_sweeps,
            "/sweep_file": self._sweep_file,
        }
        return {route: _app(answer, self._own) for route, answer in answers.items()}

    def _list(self, request: Request) -> Response:
        runs = self._runs.all() if self._runs else []
        return _respond(request, [run.summary for run in runs], "application/json")

    def _file(self, request: Request) -> Response:
        name = request.args.get("name", "")
        if name == "trace":
            raise exceptions.NotFound("A trace is fetched from /trace.")
        folder, path = self._found(request, name)
        # From the trace, where it is there: the tables in the folder are those of the layerscope that
        # wrote them, and the tab is to say what `layerscope layers` says.
        assert self._runs is not None  # else nothing would have been found
        if self._runs.held(folder, "trace") is not None:
            body = self._open.file(self._readable(folder), name)
        else:
            with _readable_file(), self._runs.open(path) as file:
                body = file.read()
            if name == "layers":
                body = written_table(path, body)
        return _respond(request, body, _FILE_TYPES[path.suffix])

    def _trace(self, request: Request) -> Response:
        _, path = self._found(request, "trace")
        assert self._runs is not None
        with _readable_file():
            file = self._runs.open(path)
        # In pieces: an XL trace has tens of megabytes, and TensorBoard's own answer copies it.
        return Response(
            wrap_file(request.environ, file, 1 << 16),
            content_type="application/gzip",
            direct_passthrough=True,
            headers=[
                ("X-Content-Type-Options", "nosniff"),
                ("Content-Length", str(os.fstat(file.fileno()).st_size)),
                ("Cross-Origin-Resource-Policy", "same-origin"),
                ("Content-Disposition", f'attachment; filename="{_download_name(path)}"'),
            ],
        )

    def _window(self, request: Request) -> Response:
        folder, _ = self._found(request, "trace")
        window = self._open.window(self._readable(folder), request.args)
        return _respond(request, window, "application/json")

    def _perfetto(self, request: Request) -> Response:
        folder, _ = self._found(request, "trace")
        trace = self._open.perfetto(self._readable(folder))
        # As a file and not as an encoding: Perfetto unpacks it, and fetch() would do so before it.
        return _respond(request, trace, "application/gzip")

    def _list_sweeps(self, request: Request) -> Response:
        return _respond(request, self._sweeps.all() if self._sweeps else [], "application/json")

    def _sweep_file(self, request: Request) -> Response:
        sweep, name = request.args.get("sweep", ""), request.args.get("name", "")
        path = self._sweeps.file(sweep, name) if self._sweeps else None
        if path is None:
            raise exceptions.NotFound(f"No such sweep below the log folder, or it has no {name!r}.")
        assert self._sweeps is not None
        with _readable_file():
            body = self._sweeps.read(path)
        return _respond(request, body, _FILE_TYPES[path.suffix])

    def _found(self, request: Request, name: str) -> tuple[Path, Path]:
        """The folder of the run asked for, and its file of this name."""
        folder = self._runs.folder(request.args.get("run", "")) if self._runs else None
        path = self._runs.held(folder, name) if self._runs and folder else None
        if folder is None or path is None:
            raise exceptions.NotFound(f"No such run below the log folder, or it has no {name!r}.")
        return folder, path

    def _readable(self, folder: Path) -> Path:
        """A run's folder, unless a file in it is a link that leads out."""
        if self._runs is None or not self._runs.stays_inside(folder):
            raise exceptions.NotFound("A file of this run leads out of the log folder.")
        return folder


def _columns(request: Request) -> Response:
    """What the page needs to know of each column of a layer table."""
    told = [
        {
            "name": column.name,
            "kind": column.kind,
            "label": column.label,
            "unit": column.unit,
            "digits": column.digits,
            "adds": column.adds or column.is_total or column.name in ("gpu_share", "roofline_us"),
            "means": column.means.replace("`", ""),
        }
        for column in COLUMNS
    ]
    return _respond(request, told, "application/json")


def _download_name(trace: Path) -> str:
    """The run's name in the file's: traces of several runs lie apart in a folder of downloads."""
    run = re.sub(r"[^A-Za-z0-9._-]+", "-", trace.resolve().parent.name).strip("-.")
    return f"{run or 'run'}.{FILES['trace']}"


@functools.cache
def _assets() -> dict[str, bytes]:
    """The page's files by name; those that only the HTML report takes stay behind."""
    own = files("layerscope") / "web"
    pages = [
        entry
        for entry in own.iterdir()
        if Path(entry.name).suffix in _TYPES and not entry.name.startswith("report.")
    ]
    return {entry.name: entry.read_bytes() for entry in pages}


def _page(name: str, body: bytes) -> Answer:
    content_type = _TYPES[Path(name).suffix]
    return lambda request: _respond(request, body, content_type)


@contextlib.contextmanager
def _readable_file() -> Iterator[None]:
    """A file that went, or that is refused, is an answer and no fault of the server."""
    try:
        yield
    except OSError as error:
        raise exceptions.UnprocessableEntity(
            f"{Path(error.filename or '').name}: cannot be read ({error.strerror or error})."
        ) from None


def _app(answer: Answer, own: OwnPage) -> App:
    """A WSGI application of this function; anything but reading, and what it refuses, is an error."""

    @Request.application
    def application(request: Request) -> Response:
        try:
            if request.method not in ("GET", "HEAD"):
                raise exceptions.MethodNotAllowed(["GET", "HEAD"])
            if refused := own.refusal(request.headers):
                raise exceptions.Forbidden(refused)
            return answer(request)
        except exceptions.HTTPException as error:
            text = error.description or error.name
            return _respond(request, text, "text/plain", error.code or 500)

    return application


def _respond(request: Request, content: object, content_type: str, code: int = 200) -> Response:
    response: Response = http_util.Respond(request, content, content_type, code=code)
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response
