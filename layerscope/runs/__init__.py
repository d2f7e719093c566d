"""A path in, a saved run or sweep out: the one door to what was written."""
