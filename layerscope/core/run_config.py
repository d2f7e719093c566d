"""`RunConfig`: every choice of one run, resolved; what the user typed is gone, what will run is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[int, Meta(ge=0)]

Weights = Literal["pretrained", "random"]
DtypeLayout = Literal["from_pretrained", "uniform"]
ImageSizeMode = Literal["model", "source"]
AnswerForm = Literal["letter", "text"]
Device = Literal["cuda", "cpu"]
Dtype = Literal["fp16", "bf16", "fp32"]
Optimization = Literal["eager", "compile", "cudagraphs", "flash"]
Attention = Literal["sdpa", "eager", "flash"]
Fp32Matmul = Literal["highest", "high"]
Normalisation = Literal["none", "lower-punct", "vqa"]
Seconds = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One run, fully resolved. `None` says "does not apply here", never "decide later".

    Attributes:
        model: hub id, local folder, `tiny`, or the name of a shipped architecture.
        weights: `pretrained` loads a checkpoint; `random` builds the architecture with seeded weights.
        revision: hub revision the model is pinned to; None for a local folder or a built model.
        processor: folder or hub id the processor comes from; None when the data needs none.
        image_size: height and width in pixels that the vision tower sees (mode `model`), or that
            the source image is resized to before the processor (mode `source`).
        max_input_len: text tokens, on both tokenizers, query tokens not included.
        min_new_tokens: equal to `max_new_tokens` forces the output length (untrained weights).
        coordinate_descent_tuning: inductor's setting of that name, for the graphs that multiply a
            matrix by one vector.
        data_revision: hub commit the data set is read at; None: the one its layout pins, else the
            newest.
        prompt: template that stands in for the data set's own, with `{question}`, `{context}` and
            `{options}` where it has them; None: its own.
        samples: samples drawn from the data set, spread over batches of `batch_size`.
        warmup: batches run before anything is measured.
        measure_limit_s: longest time that full batches are repeated for a narrower interval of the
            latency, after each batch of the data has run once.
        normalisation: what is done to answers and references before words are compared.
        energy_per_layer: which layers are replayed for their energy (`read_choice`); None: none.
        energy_limit_s: longest time of the replay pass.
        out: folder that run folders are written to.
    """

    model: str
    weights: Weights = "pretrained"
    revision: str | None = None
    dtype_layout: DtypeLayout = "from_pretrained"
    processor: str | None = None
    batch_size: Positive = 16
    image_size: Positive = 224
    image_size_mode: ImageSizeMode = "model"
    max_input_len: Positive = 200
    max_new_tokens: Positive = 20
    min_new_tokens: NonNegative = 0
    num_beams: Positive = 1
    dataset: str
    data_dir: str | None = None
    data_revision: str | None = None
    prompt: str | None = None
    answer_form: AnswerForm = "text"
    normalisation: Normalisation = "none"
    samples: Positive = 64
    warmup: NonNegative = 2
    measure_limit_s: Seconds = 10.0
    device: Device
    dtype: Dtype
    optimization: Optimization = "eager"
    attention: Attention = "sdpa"
    fp32_matmul: Fp32Matmul = "highest"
    coordinate_descent_tuning: bool = False
    trace: bool = True
    energy_per_layer: str | None = None
    energy_limit_s: Seconds = 420.0
    seed: NonNegative = 0
    out: str = "traces"
