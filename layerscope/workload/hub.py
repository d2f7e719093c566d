"""From a hub id to a folder on disk: the revision pinned, the download announced before it starts.

Without a reachable hub the local hub cache serves, and the announcement says so.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from layerscope.core.errors import EnvironmentProblem, ModelError
from layerscope.core.units import size_text
from layerscope.core.words import first_line
from layerscope.published.model import PUBLISHED_MODEL
from layerscope.workload.checkpoint import CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SAFETENSORS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
# `*` crosses folders here: the Q-Former's tokenizer lies in a folder of its own.
_TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja")  # the last: a chat template
_TIMEOUT_S = 10.0
_LINE_RATES_MBIT_S = (1000, 100)


@dataclass(frozen=True)
class HubModel:
    """A model on the hub at one commit.

    Attributes:
        repo_id: `owner/name`.
        commit: hash of the commit; everything is read at it.
        sizes_bytes: file -> size; empty when the hub could not be asked.
        cached: the snapshot folder in the local cache, used because the hub could not be asked.
        reason: why it could not.
    """

    repo_id: str
    commit: str
    sizes_bytes: Mapping[str, int] = field(default_factory=dict)
    cached: Path | None = None
    reason: str = ""


@dataclass(frozen=True)
class Hub:
    """Where to download from and to; None stands for huggingface_hub's own defaults."""

    endpoint: str | None = None
    cache_dir: Path | None = None

    def locate(self, repo_id: str, revision: str | None) -> HubModel:
        """The model at `revision` (a commit, branch or tag; None: the main branch), as a commit.

        Raises:
            ModelError: the hub has no such model or revision, or does not let this user read it.
            EnvironmentProblem: the hub is out of reach and the local cache does not hold the model.
        """
        from huggingface_hub import HfApi, errors

        try:
            info = HfApi(endpoint=self.endpoint).model_info(
                repo_id, revision=revision, files_metadata=True, timeout=_TIMEOUT_S
            )
        except errors.GatedRepoError:
            raise ModelError(
                f"{repo_id}: access is restricted; ask for it on the model's page, then "
                "`hf auth login`."
            ) from None
        except errors.RevisionNotFoundError:
            raise ModelError(f"{repo_id}: the hub has no revision {revision!r} of it.") from None
        except (errors.RepositoryNotFoundError, errors.HFValidationError):
            raise ModelError(
                f"{repo_id}: no such model on the hub (or a private one: `hf auth login`)."
            ) from None
        # The HTTP library differs between versions of huggingface_hub, so what an unreachable hub
        # raises has no common base.
        except Exception as error:
            return self._locate_cached(repo_id, revision, first_line(error, longest=None))
        return HubModel(
            repo_id=repo_id,
            commit=info.sha or revision or "main",
            sizes_bytes={s.rfilename: s.size or 0 for s in info.siblings or ()},
        )

    def fetch_config(self, model: HubModel) -> Path:
        """The snapshot folder with at least config.json in it.

        Raises:
            ModelError, EnvironmentProblem: as `fetch`.
        """
        if model.cached is not None:
            return model.cached
        if CONFIG_FILE not in model.sizes_bytes:
            raise ModelError(
                f"{model.repo_id}: no config.json in it, so it is no transformers model."
            )
        return self._download(model, [CONFIG_FILE])

    def fetch(
        self, model: HubModel, announce: Callable[[str], None], *, weights: bool = True
    ) -> Path:
        """The snapshot folder with all that a model (or, without weights, a processor) needs.

        Raises:
            ModelError: the weights are pickles only.
            EnvironmentProblem: the disk is too small, or the download broke off.
        """
        if model.cached is not None:
            announce(
                f"{model.repo_id}: the hub is out of reach ({model.reason}); "
                f"using commit {model.commit[:12]} in the local cache {model.cached}."
            )
            return model.cached
        wanted = wanted_files(model.repo_id, model.sizes_bytes, weights=weights)
        missing = [name for name in wanted if self._in_cache(model, name) is None]
        if missing:
            self._announce_download(model, missing, announce)
        else:
            announce(f"{model.repo_id}: commit {model.commit[:12]} is in the local cache.")
        return self._download(model, wanted)

    def _announce_download(
        self, model: HubModel, missing: Iterable[str], announce: Callable[[str], None]
    ) -> None:
        size = sum(model.sizes_bytes[name] for name in missing)
        free = free_bytes(self._cache_folder())
        announce(
            f"{model.repo_id}: downloading {_gb(size)} at commit {model.commit[:12]} to "
            f"{self._cache_folder()} ({_gb(free)} free); {expected_time(size)}."
        )
        if size > free:
            raise EnvironmentProblem(
                f"{model.repo_id}: the download takes {_gb(size)} and {self._cache_folder()} has "
                f"{_gb(free)} free; free {_gb(size - free)} or set HF_HOME to a larger disk."
            )

    def _download(self, model: HubModel, names: list[str]) -> Path:
        from huggingface_hub import snapshot_download

        try:
            return Path(
                snapshot_download(
                    model.repo_id,
                    revision=model.commit,
                    allow_patterns=names,
                    endpoint=self.endpoint,
                    cache_dir=self.cache_dir,
                )
            )
        except Exception as error:  # as in locate(): no common base
            raise EnvironmentProblem(
                f"{model.repo_id}: the download broke off ({first_line(error, longest=None)}); "
                f"the same command resumes it. {ways_on()}"
            ) from error

    def _locate_cached(self, repo_id: str, revision: str | None, reason: str) -> HubModel:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(
            repo_id, CONFIG_FILE, cache_dir=self.cache_dir, revision=revision
        )
        if not isinstance(found, str):
            raise EnvironmentProblem(
                f"{repo_id}: the hub is out of reach ({reason}) and {self._cache_folder()} does "
                f"not hold the model. {ways_on()}"
            )
        folder = Path(found).parent
        return HubModel(repo_id=repo_id, commit=folder.name, cached=folder, reason=reason)

    def _in_cache(self, model: HubModel, name: str) -> str | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(
            model.repo_id, name, cache_dir=self.cache_dir, revision=model.commit
        )
        return found if isinstance(found, str) else None

    def _cache_folder(self) -> Path:
        from huggingface_hub import constants

        return Path(self.cache_dir or constants.HF_HUB_CACHE)


def is_hub_id(model: str) -> bool:
    """Whether this is written like a hub id (`owner/name`)."""
    return _HUB_ID.fullmatch(model) is not None


def ways_on() -> str:
    """What to do without the hub, in one sentence."""
    return (
        "Three ways on without the hub: --model FOLDER with a local copy; --model "
        f"{PUBLISHED_MODEL.rpartition('/')[2]} --weights random for the same architecture with random "
        "weights; "
        "--model tiny, which comes with layerscope."
    )


def wanted_files(repo_id: str, names: Iterable[str], *, weights: bool) -> list[str]:
    """The files of a repository to download: configuration, tokenizers and safetensors weights.

    Raises:
        ModelError: weights are wanted and the repository has none in safetensors form.
    """
    names = sorted(names)
    shards = [name for name in names if _SAFETENSORS.fullmatch(name)]
    if WEIGHTS_FILE in shards and INDEX_FILE not in names:
        shards = [WEIGHTS_FILE]
    if weights and not shards:
        raise ModelError(
            f"{repo_id}: has no safetensors weights, and layerscope loads no pickles; take a "
            "revision that has them (--revision)."
        )
    text = [n for n in names if any(fnmatch(n, pattern) for pattern in _TEXT_FILES)]
    return text + shards if weights else text


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that holds (or would hold) this folder."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def expected_time(size_bytes: int) -> str:
    """How long a download takes on two usual lines, in words."""
    parts = []
    for rate in _LINE_RATES_MBIT_S:
        seconds = size_bytes * 8 / (rate * 1e6)
        length = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        parts.append(f"{length} at {rate:,} Mbit/s")
    return "about " + ", ".join(parts)


def _gb(size_bytes: int) -> str:
    return size_text(size_bytes, "GB", 2)
