"""A model object in, what its modules are for out."""
