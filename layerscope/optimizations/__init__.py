"""What carries a remedy out, one a file: why it is refused, what it changes, how it is taken back.

Each file declares `OPTIMIZATION`; `layerscope.workload.optimization` finds them. What a reader knows of
it stands in the file of the same name in `layerscope/remedies`.
"""
