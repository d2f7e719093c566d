"""A sweep's configuration in, a folder of finished runs and their tables out."""
