"""Rows of a sweep in, how they stand beside the published table out."""
