"""Small models of many architectures with random weights, and inputs for them.

Times mean nothing, structure does: which modules run, how often, under which, in which order.
"""

from __future__ import annotations

from support.families.attended import ATTENDED
from support.families.merged import MERGED
from support.families.parts import Builder
from support.families.projected import PROJECTED
from support.families.resampled import RESAMPLED
from support.families.towerless import TOWERLESS

FAMILIES: dict[str, Builder] = PROJECTED | MERGED | RESAMPLED | ATTENDED | TOWERLESS
