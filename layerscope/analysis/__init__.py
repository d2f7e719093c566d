"""Columns and a run record in, tables out: pure functions, no torch, nothing drawn or printed."""
