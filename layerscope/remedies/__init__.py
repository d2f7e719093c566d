"""What could help a run, one remedy a file: the findings it helps, a prediction, the plain lines.

Each file declares `REMEDY`; `layerscope.core.remedy.remedies()` finds them. What carries a remedy out
stands in the file of the same name in `layerscope/optimizations`.
"""
