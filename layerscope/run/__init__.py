"""What runs a model outside of a run's passes: capture(), doctor, counted FLOPs, ceilings."""
