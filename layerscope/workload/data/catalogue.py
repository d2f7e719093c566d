"""From a run's configuration to its samples: the one place that knows every data set's name."""

from __future__ import annotations

import dataclasses

from layerscope.core.errors import UsageError
from layerscope.core.run_config import RunConfig
from layerscope.core.words import nearest
from layerscope.workload.data import image_folder
from layerscope.workload.data.layouts import LAYOUTS
from layerscope.workload.data.real import RealSource
from layerscope.workload.data.reworded import RewordedSource
from layerscope.workload.data.sample import SampleSource
from layerscope.workload.data.synthetic import PROMPTS, RandomSource, SyntheticSource

DATASETS = (*LAYOUTS, *PROMPTS, "synthetic-random", image_folder.NAME)


def open_samples(config: RunConfig) -> SampleSource:
    """The samples a run asked for, under its prompt; nothing is read or downloaded yet.

    Raises:
        UsageError: no such data set, or options that contradict each other.
    """
    source = _own_samples(config)
    return source if config.prompt is None else RewordedSource(source, config.prompt)


def _own_samples(config: RunConfig) -> SampleSource:
    name = config.dataset
    if name not in DATASETS:
        raise UsageError(
            f"--dataset {name}: no such data set, nearest is {nearest(name, DATASETS)}; "
            f"known are {', '.join(DATASETS)}."
        )
    if config.samples < config.batch_size:
        raise UsageError(
            f"--samples {config.samples} is less than one batch of {config.batch_size}: "
            "ask for more samples or a smaller --batch."
        )
    if config.data_revision is not None and (name not in LAYOUTS or config.data_dir is not None):
        raise UsageError(
            f"--data-revision {config.data_revision} names a commit on the hub, and these samples "
            "are not read from it: leave it out."
        )
    if name in LAYOUTS:
        layout = LAYOUTS[name]
        if config.data_revision is not None:
            layout = dataclasses.replace(layout, revision=config.data_revision)
        return RealSource(layout, data_dir=config.data_dir, answer_form=config.answer_form)
    if config.data_dir is not None:
        raise UsageError(
            f"--data-dir {config.data_dir} has no meaning with --dataset {name}, which is drawn, "
            f"not read: leave it out, or choose one of {', '.join(LAYOUTS)}."
        )
    if name == "synthetic-random":
        return RandomSource(config.seed)
    if name == image_folder.NAME:
        if config.images is None:
            raise UsageError("--dataset images: say which folder with --images DIR.")
        return image_folder.ImageFolder(config.images)
    return SyntheticSource(name, seed=config.seed, answer_form=config.answer_form)
