"""The data sets: a `RunConfig` goes in, samples with images, prompts and answers come out."""

from layerscope.workload.data.catalogue import DATASETS, open_samples
from layerscope.workload.data.sample import Sample, SampleSource
from layerscope.workload.data.synthetic import SyntheticSource

__all__ = ["DATASETS", "Sample", "SampleSource", "SyntheticSource", "open_samples"]
