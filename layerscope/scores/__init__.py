"""Answers and references in, error rates and accuracies out."""
