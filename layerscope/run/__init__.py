"""The passes of a run in their order: a resolved config in, a finished run folder out."""
