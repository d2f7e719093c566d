"""Anybody's program, unchanged, with one call of its model traced: `layerscope run -- PROGRAM`."""
