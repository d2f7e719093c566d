"""A model and a call in, a Kineto trace with a range per module call out."""
