"""FLOPs of InstructBLIP with a T5, written from the architecture: numbers in, FLOPs by part out.

Nothing here runs or reads a model, so it can contradict the counters. 2 FLOP per
multiply-accumulate; matrix products, attention and the patch convolution only, as they do; biases,
norms, softmax, activations and lookups are not counted. Attention is counted over the full score
matrix. Notation: a matrix product of (n, a) by (a, b) is `product(n, a, b)` = 2·n·a·b.
"""

from __future__ import annotations

from dataclasses import dataclass

from layerscope.models.closed_form import attention, product


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The sizes that decide the FLOPs of an InstructBLIP with a T5 language model.

    Attributes:
        patch: side of a patch in pixels.
        query_tokens: learned queries; as many image tokens stand in the language model's prompt.
        qformer_cross_every: a Q-Former layer i attends to the image where i % this is 0.
        inner: heads x d_kv of the T5's attention, which need not be its `d_model`.
        gated: whether the T5's feed-forward has two input matrices (flan-t5) or one.
    """

    patch: int
    vision_hidden: int
    vision_ffn: int
    vision_layers: int
    query_tokens: int
    qformer_hidden: int
    qformer_ffn: int
    qformer_layers: int
    qformer_cross_every: int
    d_model: int
    inner: int
    d_ff: int
    gated: bool
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    channels: int = 3


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one `generate()` was given and gave.

    Attributes:
        prompt_length: tokens the T5 encoder sees: text (with padding) plus `query_tokens`.
        qformer_text: text tokens the Q-Former sees, queries not included.
        decoder_steps: calls of the decoder, each for one token of every sample.
        beams: rows of the decoder per sample.
    """

    batch: int
    image_size: int
    prompt_length: int
    qformer_text: int
    decoder_steps: int
    beams: int = 1


@dataclass(frozen=True, kw_only=True)
class PartFlops:
    """FLOPs by part; `patch_convolution` is contained in `vision`, `prefill` in `decoder`."""

    vision: int
    qformer: int
    projection: int
    encoder: int
    decoder: int
    lm_head: int
    patch_convolution: int
    prefill: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        """FLOPs of the parts that add up to the total."""
        names = ("vision", "qformer", "projection", "encoder", "decoder", "lm_head")
        return {name: getattr(self, name) for name in names}


# InstructBLIP-flan-t5-xl: EVA-ViT-g at patch 14, a BERT-base Q-Former, flan-t5-xl.
INSTRUCTBLIP_FLAN_T5_XL = Architecture(
    patch=14,
    vision_hidden=1408,
    vision_ffn=6144,
    vision_layers=39,
    query_tokens=32,
    qformer_hidden=768,
    qformer_ffn=3072,
    qformer_layers=12,
    qformer_cross_every=2,
    d_model=2048,
    inner=2048,
    d_ff=5120,
    gated=True,
    encoder_layers=24,
    decoder_layers=24,
    vocabulary=32128,
)


def closed_form(model: Architecture, work: Workload) -> PartFlops:
    """FLOPs of one greedy or beam `generate()` with KV cache, by part."""
    rows = work.batch * work.beams
    first = rows * _decoder_step(model, work.prompt_length, step=1)
    later = rows * sum(
        _decoder_step(model, work.prompt_length, step) for step in range(2, work.decoder_steps + 1)
    )
    return PartFlops(
        vision=work.batch * _vision(model, work.image_size),
        qformer=work.batch * _qformer(model, work),
        projection=work.batch * product(model.query_tokens, model.qformer_hidden, model.d_model),
        encoder=work.batch * _encoder(model, work.prompt_length),
        decoder=(first if work.decoder_steps else 0) + later,
        lm_head=rows * work.decoder_steps * product(1, model.d_model, model.vocabulary),
        patch_convolution=work.batch * _patch_convolution(model, work.image_size),
        prefill=first if work.decoder_steps else 0,
    )


def _patches(model: Architecture, image_size: int) -> int:
    return (image_size // model.patch) ** 2


def _patch_convolution(model: Architecture, image_size: int) -> int:
    """Each patch is one row of (channels·patch²) by that times hidden."""
    row = model.channels * model.patch**2
    return product(_patches(model, image_size), row, model.vision_hidden)


def _vision(model: Architecture, image_size: int) -> int:
    """Patch convolution, then per layer qkv, attention, output projection and the two of the MLP."""
    n, h = _patches(model, image_size) + 1, model.vision_hidden  # and the class token
    layer = product(n, h, 3 * h) + attention(n, n, h) + product(n, h, h)
    layer += 2 * product(n, h, model.vision_ffn)
    return _patch_convolution(model, image_size) + model.vision_layers * layer


def _qformer(model: Architecture, work: Workload) -> int:
    """Self-attention over queries and text; cross-attention of the queries; two feed-forwards."""
    d, queries = model.qformer_hidden, model.query_tokens
    n = queries + work.qformer_text
    image = _patches(model, work.image_size) + 1
    layer = 4 * product(n, d, d) + attention(n, n, d)
    layer += 2 * product(n, d, model.qformer_ffn)  # queries and text through their own weights
    cross = 2 * product(queries, d, d)  # query and output
    cross += 2 * product(image, model.vision_hidden, d)  # key and value
    cross += attention(queries, image, d)
    crossing = len(range(0, model.qformer_layers, model.qformer_cross_every))
    return model.qformer_layers * layer + crossing * cross


def _feed_forward(model: Architecture, n: int) -> int:
    """Input (twice where gated) and output matrix of the T5's feed-forward."""
    return (3 if model.gated else 2) * product(n, model.d_model, model.d_ff)


def _encoder(model: Architecture, n: int) -> int:
    layer = 4 * product(n, model.d_model, model.inner) + attention(n, n, model.inner)
    return model.encoder_layers * (layer + _feed_forward(model, n))


def _decoder_step(model: Architecture, encoded: int, step: int) -> int:
    """One token of one row: `step` self keys (its own included), `encoded` cross keys.

    The cross keys and values are projected in the first step and cached.
    """
    layer = 4 * product(1, model.d_model, model.inner) + attention(1, step, model.inner)
    layer += 2 * product(1, model.d_model, model.inner) + attention(1, encoded, model.inner)
    if step == 1:
        layer += 2 * product(encoded, model.d_model, model.inner)
    return model.decoder_layers * (layer + _feed_forward(model, 1))
