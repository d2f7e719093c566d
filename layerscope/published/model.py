"""The model of the published tables, which is the default on a GPU."""

from __future__ import annotations

PUBLISHED_MODEL = "Salesforce/instructblip-flan-t5-xl"
# As people write it; the model that ships with layerscope is a small one of the same family.
PUBLISHED_FAMILY = "InstructBLIP"
