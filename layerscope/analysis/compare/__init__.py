"""Two runs in, what differs and whether it is more than noise out."""

from layerscope.analysis.compare.environment import unlike_environments
from layerscope.analysis.compare.fail_on import judge, parse_condition
from layerscope.analysis.compare.headline import Subject
from layerscope.analysis.compare.layers import compare_layers
from layerscope.analysis.compare.whole import compare

__all__ = [
    "Subject",
    "compare",
    "compare_layers",
    "judge",
    "parse_condition",
    "unlike_environments",
]
