"""What the batches held in, findings out: an image size that did not reach the model, and padding."""

from __future__ import annotations

from layerscope.core.files import RUN_FILE
from layerscope.core.units import ms, percent
from layerscope.findings.evidence import A_CAPTURE, Evidence, Verdict
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.records.run_record import BatchRecord
from layerscope.work.roofline import sum_ns

BATCHES = RestsOn(source=f"{RUN_FILE}: workload.batches")
# From this share of padded positions on, padding is worth a sentence.
PADDING_SHARE = 0.25


def image_size(evidence: Evidence) -> Verdict:
    """The size asked for is not the size of the pixels that reached the model."""
    record = evidence.record
    if record is None:
        return NotJudged(rule="image-size", reason="no run record: the size asked for is unknown")
    config = record.config
    if config is None:
        return NotJudged(rule="image-size", reason=f"{A_CAPTURE} which size was asked for")
    if any(len(b.pixel_values_shape) != 4 for b in record.batches):
        reason = "the model takes an image as patches or tiles, not as one square"
        return NotJudged(rule="image-size", reason=reason)
    if config.image_size_mode == "processor" or config.image_tokens is not None:
        return ()
    asked = config.image_size
    other = [b for b in record.batches if b.pixel_values_shape[-2:] != (asked, asked)]
    if not other:
        return ()
    height, width = other[0].pixel_values_shape[-2:]
    total = len(record.batches)
    if config.image_size_mode == "source":
        how = (
            f"the source images were resized to {asked} px before the processor, which made them "
            f"{height} × {width} px"
        )
        advice = (
            f"--image-size-mode model: the model itself sees {asked} px, positions interpolated"
        )
    else:
        how = f"{asked} px were asked for and {height} × {width} px reached the model"
        advice = "the size of the processor, or data of the size asked for"
    vision = sum_ns(row for row in evidence.rows if row.phase == "vision")
    return (
        Finding(
            id="image-size-not-reached",
            sentence=f"The image size did not reach the model in {len(other)} of {total} batches: "
            f"{how}; time, FLOPs and answers are those of {height} × {width} px"
            + (f" (vision: {ms(vision)} of {evidence.time_of})." if vision else "."),
            rests_on=(RestsOn(source=f"{RUN_FILE}: config.image_size"), BATCHES),
            try_next=advice,
            saving=Saving(
                saved_ns=None, basis="it changes what was measured, not how fast it runs"
            ),
            concerns_ns=vision or None,
        ),
    )


def padding(evidence: Evidence) -> Verdict:
    """A good part of the text positions that the encoder or the Q-Former computes are padding."""
    record = evidence.record
    if record is None:
        return NotJudged(rule="padding", reason="no run record: the prompts' lengths are unknown")
    if record.workload is None:
        return NotJudged(rule="padding", reason=f"{A_CAPTURE} the prompts' lengths")
    batches = _traced(record.workload.batches, record.trace.batch if record.trace else None)
    # A language model without an encoder reads the text, and its padding, in its prefill.
    reads = "encoder" if any(row.phase == "encoder" for row in evidence.rows) else "prefill"
    found = []
    for phase, words, lengths in (
        (reads, "language model's", [(b.text_lengths, b.padded_text_length) for b in batches]),
        ("qformer", "Q-Former's", [(b.qformer_lengths, b.padded_qformer_length) for b in batches]),
    ):
        positions = sum(len(real) * padded for real, padded in lengths)
        real = sum(sum(one) for one, _ in lengths)
        if positions and 1 - real / positions >= PADDING_SHARE:
            found.append(_padding(evidence, phase, words, real, positions, batches))
    return tuple(found)


def _traced(batches: tuple[BatchRecord, ...], index: int | None) -> tuple[BatchRecord, ...]:
    """The batch that was traced, because its time is the one known by layer; without one, all."""
    return tuple(b for b in batches if b.index == index) or batches


def _padding(
    evidence: Evidence,
    phase: str,
    words: str,
    real: int,
    positions: int,
    batches: tuple[BatchRecord, ...],
) -> Finding:
    share = 1 - real / positions
    time = sum_ns(row for row in evidence.rows if row.phase == phase)
    where = "the traced batch" if len(batches) == 1 else f"{len(batches)} batches"
    # An image's tokens are as much of a prefill as the text's.
    images = sum(sum(b.image_tokens) for b in batches) if phase == "prefill" else 0
    of_phase = (positions - real) / (positions + images)
    saving = Saving(saved_ns=None, basis=f"no {evidence.time_of} was seen in {phase}")
    if time:
        saving = Saving(
            saved_ns=round(time * of_phase),
            whole_ns=evidence.whole_ns,
            of=evidence.time_of,
            basis=f"the padded share of {phase}'s {ms(time)}, as if its time followed the text "
            f"positions; {'image' if phase == 'prefill' else 'the query'} tokens and the longest "
            "prompt of a batch stay",
        )
    return Finding(
        id=f"padding-{phase}",
        sentence=f"{percent(share)} of the {words} text positions in {where} are padding: "
        f"{real:,} of {positions:,} hold a token.",
        rests_on=(BATCHES, RestsOn(phase=phase)),
        try_next="a smaller --max-input-len where prompts are shorter than it, or batches of "
        "prompts of like length",
        saving=saving,
        concerns_ns=time or None,
    )


PLACE = 70
RULES = (padding, image_size)
