"""`layerscope doctor`: this machine in, a `Diagnosis` out. One file per group of checks."""
