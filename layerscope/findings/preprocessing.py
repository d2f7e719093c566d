"""The host's time before each batch in, a finding out where it is a good part of generate()'s."""

from __future__ import annotations

from layerscope.core.files import RUN_FILE
from layerscope.core.units import ms, percent
from layerscope.findings.evidence import A_CAPTURE, Evidence, Verdict
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.stats.beside_batch import beside_batch

RULE = "preprocessing"
# From this share of generate()'s own time on, what goes before it is worth a sentence.
LEAST_SHARE = 0.1


def preprocessing(evidence: Evidence) -> Verdict:
    """The processor and the copy take the host a good part of generate()'s time before each batch."""
    record = evidence.record
    if record is None:
        return NotJudged(rule=RULE, reason="no run record: the time before a batch is unknown")
    if not evidence.on_device:
        return NotJudged(rule=RULE, reason="no device events in the trace")
    if record.workload is None:
        return NotJudged(rule=RULE, reason=f"{A_CAPTURE} what the program does before a batch")
    processor, copied = beside_batch(record)
    before, copy, inside = processor.host_ns, copied.host_ns, processor.generate_ns
    if before is None or copy is None or inside is None:
        return NotJudged(rule=RULE, reason=processor.reason)
    if before + copy < LEAST_SHARE * inside:
        return ()
    return (
        Finding(
            id=RULE,
            sentence=f"Before each batch the processor takes {ms(before)} of host time and the copy to "
            f"the device {ms(copy)}, {percent((before + copy) / inside)} of the {ms(inside)} of "
            "generate(); where one batch follows another the device waits for it.",
            rests_on=(RestsOn(source=f"{RUN_FILE}: latency"),),
            try_next="prepare the next batch while one runs (a DataLoader with workers, pin_memory), "
            "smaller images, or torchvision, with which transformers' processors are faster",
            saving=Saving(
                saved_ns=None,
                basis="it stands beside the traced batch: prepared ahead, it costs nothing there",
            ),
        ),
    )


PLACE = 75
RULES = (preprocessing,)
