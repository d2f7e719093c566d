"""YAML and command line in, a resolved `RunConfig` out."""
