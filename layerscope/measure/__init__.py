"""The unprofiled passes: a model and its batches go in, raw samples and statistics come out."""
