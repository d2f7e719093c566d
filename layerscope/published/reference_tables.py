"""The packed copy of the published tables in `configs/reference/`, read."""

from __future__ import annotations

from typing import Any

import msgspec

from layerscope.core.errors import DataError
from layerscope.core.files import DAMAGED
from layerscope.core.shipped import shipped_root

TABLES_FILE = "reference_tables.json"
REFERENCE_DATASETS = ("TextVQA", "ScienceQA", "COCO")


def reference_tables() -> dict[str, Any]:
    """Table name -> its rows and conditions; `inferred` holds what the publication leaves unsaid.

    Raises:
        DataError: the file is missing from the installation, or damaged.
    """
    path = shipped_root() / "reference" / TABLES_FILE
    try:
        found: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); reinstall layerscope."
        ) from None
    except DAMAGED as error:
        raise DataError(f"{path}: damaged ({error}); reinstall layerscope.") from None
    return found
