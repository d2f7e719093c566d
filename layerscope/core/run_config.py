"""`RunConfig`: every choice of one run, resolved; what the user typed is gone, what will run is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from layerscope.core.option import option
from layerscope.core.remedy import EAGER, reconciled, remedies, words_of

Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[int, Meta(ge=0)]

Weights = Literal["pretrained", "random"]
DtypeLayout = Literal["from_pretrained", "uniform"]
ImageSizeMode = Literal["model", "source", "processor"]
AnswerForm = Literal["letter", "text"]
Device = Literal["cuda", "cpu"]
Dtype = Literal["fp16", "bf16", "fp32"]
Optimization = Literal["eager", "compile", "cudagraphs", "flash"]
Attention = Literal["sdpa", "eager", "flash"]
Fp32Matmul = Literal["highest", "high"]
Normalisation = Literal["none", "lower-punct", "vqa"]
Seconds = Annotated[float, Meta(gt=0)]


# Traces of one batch, from which the noise of its device time follows.
DEVICE_TRACES = 3


def _optimize_help() -> str:
    """With every name that there is, so that a new remedy needs no word here."""
    return (
        f"Optimizations, joined by commas: {', '.join(remedies())}. Their order does not matter. "
        f"Default: {EAGER}, none."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One run, fully resolved. `None` says "does not apply here", never "decide later".

    Attributes:
        model: hub id, local folder, `tiny`, or the name of a shipped architecture.
        weights: `pretrained` loads a checkpoint; `random` builds the architecture with seeded weights.
        revision: hub revision the model is pinned to; None for a local folder or a built model.
        processor: folder or hub id the processor comes from; None when the data needs none.
        image_tokens: tokens of one image that the language model sees; None: those of `image_size`.
        image_size: height and width in pixels that the vision tower sees (mode `model`), or that
            the source image is resized to before the processor (mode `source`).
        max_input_len: text tokens, on both tokenizers, query tokens not included.
        min_new_tokens: equal to `max_new_tokens` forces the output length (untrained weights).
        coordinate_descent_tuning: inductor's setting of that name, for the graphs that multiply a
            matrix by one vector.
        optimize: every optimization of the run, by name and joined by commas, or `eager`: what
            `optimization`, `attention`, `fp32_matmul` and `coordinate_descent_tuning` say, and what
            none of them can.
        data_revision: hub commit the data set is read at; None: the one its layout pins, else the
            newest.
        prompt: template that stands in for the data set's own, with `{question}`, `{context}` and
            `{options}` where it has them; None: its own.
        samples: samples drawn from the data set, spread over batches of `batch_size`.
        warmup: batches run before anything is measured.
        measure_limit_s: longest time that full batches are repeated for a narrower interval of the
            latency, after each batch of the data has run once.
        traced_batches: how often the traced batch is run under the profiler; the first is the account.
            None: as often as device time asks for, see `traces`.
        normalisation: what is done to answers and references before words are compared.
        quick: whether what takes longest is left out: energy, the time to the first token, figures.
        energy_per_layer: which layers are replayed for their energy (`read_choice`); None: none.
        energy_limit_s: longest time of the replay pass.
        out: folder that run folders are written to.
    """

    model: str = field(
        metadata=option(
            "Hub id, local folder, or tiny (bundled). Default: the XL model on CUDA.", group="Model"
        )
    )
    weights: Weights = field(
        default="pretrained",
        metadata=option(
            "Load a checkpoint, or build the architecture with seeded random weights.",
            group="Model",
        ),
    )
    revision: str | None = field(
        default=None, metadata=option("Hub revision of the model.", group="Model")
    )
    dtype_layout: DtypeLayout = field(
        default="from_pretrained",
        metadata=option(
            "Dtypes as from_pretrained gives them, or one dtype for all (a variant).", group="Model"
        ),
    )
    processor: str | None = field(
        default=None,
        metadata=option(
            "Folder or hub id of the processor, where the model has none.", group="Model"
        ),
    )
    batch_size: Positive = field(
        default=16, metadata=option("Samples per batch.", "--batch", "--batch-size", group="Sizes")
    )
    image_size: Positive = field(
        default=224, metadata=option("Pixels per side that the model sees.", group="Sizes")
    )
    image_tokens: Positive | None = field(
        default=None,
        metadata=option(
            "Tokens that an image becomes, at most, for models that cut images of any size into "
            "patches (Qwen-VL) or tiles (InternVL); sets --image-size.",
            group="Sizes",
        ),
    )
    image_size_mode: ImageSizeMode = field(
        default="model",
        metadata=option(
            "What --image-size means: the model's input, or the source image's size; processor: each "
            "image as the model's processor sizes it.",
            group="Sizes",
        ),
    )
    max_input_len: Positive = field(
        default=200, metadata=option("Text tokens on both tokenizers.", group="Sizes")
    )
    max_new_tokens: Positive = field(
        default=20, metadata=option("New tokens per sample at most.", group="Sizes")
    )
    min_new_tokens: NonNegative = field(
        default=0, metadata=option("New tokens per sample at least.", group="Sizes")
    )
    num_beams: Positive = field(default=1, metadata=option("Beams; 1 is greedy.", group="Sizes"))
    dataset: str = field(
        metadata=option(
            "textvqa, scienceqa, coco, synthetic-textvqa, synthetic-scienceqa, synthetic-coco or "
            "synthetic-random.",
            group="Data",
        )
    )
    images: str | None = field(
        default=None,
        metadata=option(
            "Folder with images of your own, each under the one --prompt.",
            metavar="DIR",
            group="Data",
        ),
    )
    data_dir: str | None = field(
        default=None, metadata=option("Folder with the data set's Parquet files.", group="Data")
    )
    data_revision: str | None = field(
        default=None,
        metadata=option("Hub commit of the data set. Default: pinned, or newest.", group="Data"),
    )
    prompt: str | None = field(
        default=None,
        metadata=option(
            "Template instead of the data set's own; {question}, {options}, {context} are filled in.",
            group="Data",
        ),
    )
    answer_form: AnswerForm = field(
        default="text",
        metadata=option("ScienceQA: score the letter or the text of the answer.", group="Data"),
    )
    normalisation: Normalisation = field(
        default="none",
        metadata=option(
            "What is done to answers before WER compares words. Default: none.", group="Data"
        ),
    )
    samples: Positive = field(default=64, metadata=option("Samples of the data set.", group="Data"))
    warmup: NonNegative = field(
        default=2, metadata=option("Batches run before anything is measured.", group="Measuring")
    )
    measure_limit_s: Seconds = field(
        default=10.0,
        metadata=option(
            "Longest time batches are repeated for a narrower latency interval.", group="Measuring"
        ),
    )
    device: Device = field(metadata=option("Default: cuda where there is one.", group="Model"))
    dtype: Dtype = field(
        metadata=option(
            "Default: on CUDA the half the checkpoint is in, else fp16; fp32 on the CPU.",
            group="Model",
        )
    )
    optimization: Optimization = field(
        default="eager", metadata=option("How the model runs.", group="Optimizations")
    )
    attention: Attention = field(
        default="sdpa", metadata=option("Attention implementation.", group="Optimizations")
    )
    fp32_matmul: Fp32Matmul = field(
        default="highest",
        metadata=option(
            "torch.set_float32_matmul_precision; high lets fp32 layers use TF32.",
            group="Optimizations",
        ),
    )
    coordinate_descent_tuning: bool = field(
        default=False,
        metadata=option(
            "Have inductor generate matrix-vector products and tune them on the device: decode "
            "steps of one sequence; takes minutes. With --optimization compile or cudagraphs.",
            group="Optimizations",
        ),
    )
    optimize: str = field(
        default=EAGER, metadata=option(_optimize_help, metavar="NAMES", group="Optimizations")
    )
    quick: bool = field(
        default=False,
        metadata=option(
            "First answers: account, latency and findings. No energy, no time to first token, no "
            "figures; --complete measures them later.",
            group="Measuring",
        ),
    )
    trace: bool = field(
        default=True,
        metadata=option("Only the end-to-end numbers, no account by layer.", group="Measuring"),
    )
    traced_batches: Positive | None = field(
        default=None,
        metadata=option(
            "Traces in all of the batch that is traced. The account is the first one's; the others "
            "say how far its device time varies. Default: 3 on CUDA, 1 on the CPU.",
            group="Measuring",
        ),
    )
    energy_per_layer: str | None = field(
        default=None,
        metadata=option(
            "Replay layers alone for their joules. WORDS, joined by commas: blocks (default) or "
            "groups; parts to keep to (vision, qformer, projection, encoder, decoder, lm_head); cold, "
            "to also measure with the cache overwritten before each call.",
            metavar="[WORDS]",
            alone="blocks",
            group="Measuring",
        ),
    )
    energy_limit_s: Seconds = field(
        default=420.0, metadata=option("Longest time of that replay.", group="Measuring")
    )
    seed: NonNegative = field(
        default=0, metadata=option("Seed of synthetic data and random weights.", group="Data")
    )
    out: str = field(
        default="traces",
        metadata=option("Folder that receives the run folder. Default: traces.", group="Output"),
    )

    def __post_init__(self) -> None:
        """Have `optimize` say what the older options say; a record from before it had none."""
        object.__setattr__(self, "optimize", reconciled(self.optimize, self))

    @property
    def traces(self) -> int:
        """How often the traced batch is run under the profiler, unless asked: several times on a device,
        once without one and in a quick run."""
        if self.traced_batches is not None:
            return self.traced_batches
        return DEVICE_TRACES if self.device == "cuda" and not self.quick else 1

    @property
    def size_words(self) -> str:
        """How large the images are, in words: in the unit in which the size was given."""
        if self.image_tokens is not None:
            return f"{self.image_tokens} image tokens"
        if self.image_size_mode == "processor":
            return "images of their own sizes"
        return f"{self.image_size} px"

    @property
    def optimizations(self) -> tuple[str, ...]:
        """The names in `optimize`; none of an eager run."""
        return words_of(self.optimize)
