"""What the batches held in, findings out: an image size that did not reach the model, and padding."""

from __future__ import annotations

from layerscope.core.files import RUN_FILE
from layerscope.core.units import ms, percent
from layerscope.findings.evidence import A_CAPTURE, Evidence, Verdict
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.records.layer_table import LayerRow
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
    shorter = "a smaller --max-input-len where prompts are shorter than it, or "
    return Finding(
        id=f"padding-{phase}",
        sentence=f"{percent(share)} of the {words} text positions in {where} are padding: "
        f"{real:,} of {positions:,} hold a token.",
        rests_on=(BATCHES, RestsOn(phase=phase)),
        try_next=f"{shorter}batches of prompts of like length",
        saving=_saving(evidence, phase, real, positions, batches),
        concerns_ns=time or None,
    )


def _saving(
    evidence: Evidence, phase: str, real: int, positions: int, batches: tuple[BatchRecord, ...]
) -> Saving:
    """The padded share of what each layer of the phase computes, by the positions that it reads.

    An image's tokens (the Q-Former's queries, the image in a prompt) are no padding: a layer that reads
    both saves the padded share of both, one that reads the image's alone saves nothing.
    """
    rows = [row for row in evidence.rows if row.phase == phase]
    if not sum_ns(rows):
        return Saving(saved_ns=None, basis=f"no {evidence.time_of} was seen in {phase}")
    images = sum(sum(batch.image_tokens) for batch in batches)
    if phase == "qformer" and not images:
        return Saving(
            saved_ns=None, basis="how many query tokens run beside the text is not recorded"
        )
    layers = {row.layer for row in rows}
    padded = positions - real
    share = {"text": padded / positions, "both": padded / (positions + images), "image": 0.0}
    saved = round(sum(sum_ns([row]) * share[_reads(row, layers)] for row in rows))
    return Saving(
        saved_ns=saved,
        by_phase={phase: saved},
        whole_ns=evidence.whole_ns,
        of=evidence.time_of,
        basis=f"of each layer of {phase} the share of its positions that are padding, as if its time "
        f"followed them; {'query' if phase == 'qformer' else 'image'} tokens"
        f"{'' if images else ' (none recorded)'} and the longest prompt of a batch stay",
    )


def _reads(row: LayerRow, layers: set[str]) -> str:
    """What a layer's positions are: "text", "image" (query) tokens, or "both".

    In a Q-Former cross-attention is the queries' alone, and a feed-forward that has a twin named
    `..._query` is the text's alone.
    """
    if row.phase != "qformer":
        return "both"
    parts = row.layer.split(".")
    if "cross_attention" in row.group or any(
        part.endswith("_query") or "crossattention" in part.replace("_", "") for part in parts
    ):
        return "image"
    for count in range(1, len(parts) + 1):
        twin = [*parts[: count - 1], f"{parts[count - 1]}_query", *parts[count:]]
        if ".".join(twin) in layers:
            return "text"
    return "both"


PLACE = 70
RULES = (padding, image_size)
