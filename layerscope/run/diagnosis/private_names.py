"""The private names of torch and transformers in, one finding on those that are not as tried out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from layerscope.core.words import first_line
from layerscope.private.names import PrivateName, version_of
from layerscope.run.diagnosis.probe import Finding

_MOST_SHOWN = 3


def private_names(names: Sequence[PrivateName]) -> Finding:
    """Try every name whose library is there."""
    versions: dict[str, str] = {}
    broken: dict[str, str] = {}
    for library in dict.fromkeys(name.library for name in names):
        try:
            __import__(library)
            versions[library] = version_of(library)
        except Exception as error:  # a broken installation raises whatever it likes
            broken[library] = first_line(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = [name for name in names if name.library in versions]
        faults = {name: why for name in asked if (why := name.why_not())}
    return judge(asked, faults, versions, broken)


def judge(
    asked: Sequence[PrivateName],
    faults: dict[PrivateName, str],
    versions: dict[str, str],
    broken: dict[str, str],
) -> Finding:
    """The finding.

    Args:
        faults: name -> why it does not behave as layerscope needs it.
        versions: library -> its version.
        broken: library -> why it cannot be imported, so that none of its names was asked.
    """
    here = " and ".join(f"{library} {version}" for library, version in versions.items())
    found = f"{len(asked) - len(faults)} of {len(asked)} as layerscope needs them"
    found += f" ({here})" if here else ""
    for library, version in versions.items():
        tried = next(name.tried for name in asked if name.library == library)
        if ".".join(version.split(".")[:2]) not in tried:
            found += f"; they were not tried with this {library}, but with {', '.join(tried)}"
    for library, why in broken.items():
        found += f"; {library} cannot be imported ({why})"
    shown = list(faults.items())[:_MOST_SHOWN]
    for name, why in shown:
        found += f"; {name.name}: {why}; lost: {name.feature.name}. {name.degrades}"
    if len(faults) > len(shown):
        found += f"; and {len(faults) - len(shown)} more"
    if broken:
        remedy = f"pip install --force-reinstall {' '.join(broken)}"
        return Finding(status="missing", found=found, remedy=remedy)
    if faults:
        pins = {name.library: name.tried[-1] for name in faults}
        remedy = " ".join(f"'{library}=={series}.*'" for library, series in pins.items())
        return Finding(status="limited", found=found, remedy=f"pip install {remedy}")
    return Finding(status="ok", found=found)
