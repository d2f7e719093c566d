"""A run in, its folder out."""
