"""A trace's index in, its rows out: which layer each nanosecond belongs to."""
