"""Samples in, statistics and the intervals that cover what they say out."""
