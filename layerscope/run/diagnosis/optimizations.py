"""The optimizations that there are in, a finding on which of them can run on this machine out."""

from __future__ import annotations

from layerscope.config.resolve import resolve
from layerscope.core.remedy import remedies
from layerscope.core.words import listed
from layerscope.run.diagnosis.probe import Finding


def optimizations() -> Finding:
    """Whether each is refused for the model, device and dtype of a run without options."""
    import torch

    from layerscope.workload.architecture import find_architecture
    from layerscope.workload.optimization import Asked
    from layerscope.workload.optimization import optimizations as found

    cuda = torch.cuda.is_available()
    refused: dict[str, str] = {}
    for name, remedy in remedies().items():
        config = resolve({"optimize": [name, *remedy.needs[:1]]}, cuda=cuda).config
        architecture = find_architecture(config.model).config
        why = found()[name].refusal(Asked(config=config, architecture=architecture))
        if why is not None:
            refused[name] = why
    return judge(tuple(remedies()), refused)


def judge(names: tuple[str, ...], refused: dict[str, str]) -> Finding:
    """The finding.

    Args:
        refused: name -> why it cannot run here.
    """
    able = [name for name in names if name not in refused]
    said = [f"{listed(able)} can run here"] if able else []
    said += [f"{name} cannot: {why.rstrip('.')}" for name, why in refused.items()]
    if not refused:
        return Finding(status="ok", found=said[0])
    return Finding(
        status="limited",
        found="; ".join(said),
        remedy="where one is wanted: give it what it says that it lacks",
    )
