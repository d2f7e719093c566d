"""Two runs in, what differs and whether it is more than noise out."""

from layerscope.differences.environment import unlike_environments
from layerscope.differences.fail_on import judge, parse_condition
from layerscope.differences.headline import Subject
from layerscope.differences.layers import compare_layers
from layerscope.differences.whole import compare

__all__ = [
    "Subject",
    "compare",
    "compare_layers",
    "judge",
    "parse_condition",
    "unlike_environments",
]
