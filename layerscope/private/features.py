"""Features that need private names of several kinds, and what is lost without them."""

from __future__ import annotations

from layerscope.private.names import Feature

NOTES = Feature(
    "layers of compiled code", "Each compiled part is one row; all else in the account stays."
)
COMPILING = Feature(
    "--optimization compile and cudagraphs", "Use --optimization eager, which needs none of it."
)
COUNTING = Feature(
    "counting FLOPs and bytes",
    "No FLOPs, no roofline; a capture's account of time needs none of it.",
)
