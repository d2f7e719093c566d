"""The exceptions layerscope raises on purpose, each with the exit code the command line ends with.

Exit codes: 2 usage, 3 environment, 4 model or data, 5 accounting, 6 a comparison failed.
"""

from __future__ import annotations

import errno

# What a disk says; any other OSError is not about a place to write to.
DISK_ERRORS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ESTALE,
    }
)


class LayerscopeError(Exception):
    """A problem the user can act on: one line saying what, where and what to do."""

    exit_code: int = 1


class UsageError(LayerscopeError):
    """An option, a configuration key or a value that cannot be used."""

    exit_code = 2


class EnvironmentProblem(LayerscopeError):
    """The machine lacks something the run needs: a device, a package, disk, a permission."""

    exit_code = 3


class ModelError(LayerscopeError):
    """A model that cannot be loaded, or that cannot take the inputs asked for."""

    exit_code = 4


class DataError(LayerscopeError):
    """A data set, a trace or a run folder that cannot be read."""

    exit_code = 4


class AccountingError(LayerscopeError):
    """Numbers that do not add up. The message says by how much and where."""

    exit_code = 5


class ComparisonFailed(LayerscopeError):
    """A comparison crossed a limit the user set."""

    exit_code = 6
