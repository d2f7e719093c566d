"""Rows of a sweep in; files, Markdown, figures and a screen out."""
