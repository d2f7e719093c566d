"""Batches: equal to the processor's where it works, right where it does not, recorded as they are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.by_path import module_at

from layerscope.core.errors import DataError, ModelError, UsageError
from layerscope.core.run_config import RunConfig
from layerscope.workload.batching import Batcher, iter_batches, padding_share
from layerscope.workload.data import Sample, open_samples

ROOT = Path(__file__).parents[3]
TINY = ROOT / "layerscope" / "workload" / "tiny"
REAL = ROOT.parent / "shared" / "processors" / "instructblip-flan-t5"
QUERIES = 32


def _config(**changes: Any) -> RunConfig:
    base = RunConfig(
        model="tiny",
        dataset="synthetic-textvqa",
        device="cpu",
        dtype="fp32",
        batch_size=4,
        samples=8,
    )
    return dataclasses.replace(base, **changes)


def _model_config(image_token: int = 3, vocab: int = 1024, qformer_vocab: int = 1024) -> Any:
    from transformers import InstructBlipConfig

    return InstructBlipConfig(
        vision_config={"hidden_size": 16, "patch_size": 14, "image_size": 224},
        qformer_config={"vocab_size": qformer_vocab, "max_position_embeddings": 512},
        text_config={"model_type": "t5", "vocab_size": vocab, "d_model": 16},
        num_query_tokens=QUERIES,
        image_token_index=image_token,
    )


@pytest.fixture(scope="module")
def tiny() -> Any:
    from transformers import InstructBlipProcessor

    return InstructBlipProcessor.from_pretrained(str(TINY))


@pytest.fixture(scope="module", params=["tiny", "flan-t5"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A processor and the configuration it belongs to."""
    from transformers import InstructBlipProcessor

    if request.param == "tiny":
        return InstructBlipProcessor.from_pretrained(str(TINY)), _model_config()
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not there")
    processor = InstructBlipProcessor.from_pretrained(str(REAL))
    return processor, _model_config(image_token=32100, vocab=32128, qformer_vocab=30523)


def _samples(count: int = 4, dataset: str = "synthetic-scienceqa") -> list[Sample]:
    config = _config(dataset=dataset, samples=max(count, 4))
    return list(open_samples(config).samples(count))


@pytest.mark.parametrize("length", [200, 48, 5])
def test_text_equals_the_processors_at_any_length_it_can_do(
    pair: tuple[Any, Any], length: int
) -> None:
    processor, model_config = pair
    samples = _samples()
    batch = Batcher(_config(max_input_len=length), processor, model_config).prepare(samples, 0)
    images = [sample.image for sample in samples]
    prompts = [sample.prompt for sample in samples]
    keywords = {"padding": True, "truncation": True, "return_tensors": "pt"}
    # On the T5 side the processor's max_length includes the 32 image tokens, on the other not.
    t5 = processor(images=images, text=prompts, max_length=length + QUERIES, **keywords)
    assert torch.equal(batch.inputs["input_ids"], t5["input_ids"])
    assert torch.equal(batch.inputs["attention_mask"], t5["attention_mask"])
    assert torch.equal(batch.inputs["pixel_values"], t5["pixel_values"])
    alone = processor.qformer_tokenizer(prompts, max_length=length, **keywords)
    assert torch.equal(batch.inputs["qformer_input_ids"], alone["input_ids"])


@pytest.mark.parametrize("length", [1, 2, 3, 32, 33])
def test_every_length_from_one_on_works_on_both_tokenizers(tiny: Any, length: int) -> None:
    batch = Batcher(_config(max_input_len=length), tiny, _model_config()).prepare(_samples(), 0)
    record = batch.record
    assert record.padded_text_length == record.padded_qformer_length == length
    assert record.text_lengths == record.qformer_lengths == (length,) * 4
    assert batch.inputs["input_ids"].shape == (4, QUERIES + length)
    assert (batch.inputs["input_ids"][:, :QUERIES] == 3).all()
    assert (batch.inputs["input_ids"][:, -1] == 1).all()  # </s> survives the cut


def test_the_cut_takes_the_tail_and_so_the_deciding_word(tiny: Any) -> None:
    from layerscope.workload.data import SyntheticSource
    from layerscope.workload.data.lessons import make_lesson

    source = SyntheticSource("synthetic-scienceqa", seed=0)
    for index in range(6):
        lesson = make_lesson(source.dice_at(index))
        word = tiny.tokenizer.convert_tokens_to_ids(f"▁{lesson.deciding_word}")
        for length, kept in ((lesson.depth + 1, True), (lesson.depth, False)):  # </s> takes one
            batcher = Batcher(_config(max_input_len=length), tiny, _model_config())
            ids = batcher.prepare([source.sample(index)], 0).inputs["input_ids"]
            assert (word in ids[0].tolist()) is kept


def test_record_counts_by_hand(tiny: Any) -> None:
    image = Image.new("RGB", (50, 30))
    samples = [
        Sample(sample_id="a", image=image, prompt="red", references=()),
        Sample(sample_id="b", image=image, prompt="red circle, blue", references=()),
    ]
    batch = Batcher(_config(image_size=56), tiny, _model_config()).prepare(samples, 7)
    record = batch.record
    assert record.index == 7
    assert record.sample_ids == ("a", "b")
    assert record.pixel_values_shape == (2, 3, 56, 56)
    assert record.text_lengths == (2, 5)  # red </s>; red circle , blue </s>
    assert record.qformer_lengths == (3, 6)  # [CLS] … [SEP]
    assert (record.padded_text_length, record.padded_qformer_length) == (5, 6)
    # rooms 2 * (5 + 6) = 22, used 2 + 5 + 3 + 6 = 16
    assert padding_share(record) == pytest.approx(6 / 22)


@pytest.mark.parametrize(("mode", "seen"), [("model", 112), ("source", 224)])
def test_image_size_modes(tiny: Any, mode: str, seen: int) -> None:
    config = _config(image_size=112, image_size_mode=mode)
    samples = _samples(dataset="synthetic-textvqa")
    batch = Batcher(config, tiny, _model_config()).prepare(samples, 0)
    assert batch.record.pixel_values_shape == (4, 3, seen, seen)
    assert batch.inputs["pixel_values"].dtype == torch.float32
    image = samples[0].image
    assert image is not None
    if mode == "source":
        image = image.resize((112, 112), Image.Resampling.BICUBIC)
    size = {"height": seen, "width": seen}
    expected = tiny.image_processor([image], size=size, return_tensors="pt")["pixel_values"][0]
    assert torch.equal(batch.inputs["pixel_values"][0], expected)


def test_to_copies_and_casts_the_pixels_only(tiny: Any) -> None:
    batch = Batcher(_config(), tiny, _model_config()).prepare(_samples(), 0)
    moved = batch.to("cpu", torch.float16)
    assert moved["pixel_values"].dtype == torch.float16
    assert {moved[name].dtype for name in moved if name != "pixel_values"} == {torch.int64}
    moved["input_ids"].zero_()
    assert batch.inputs["input_ids"].any()


def test_batches_run_in_order_and_the_last_is_partial(tiny: Any) -> None:
    batcher = Batcher(_config(), tiny, _model_config())
    batches = list(iter_batches(_samples(6), batcher, 4))
    assert [len(batch.samples) for batch in batches] == [4, 2]
    assert [batch.record.index for batch in batches] == [0, 1]
    ids = [sample_id for batch in batches for sample_id in batch.record.sample_ids]
    assert ids == [sample.sample_id for sample in _samples(6)]


def test_too_little_data_is_an_error(tiny: Any) -> None:
    batcher = Batcher(_config(), tiny, _model_config())
    with pytest.raises(DataError, match="ended after 3 samples, less than one batch of 4"):
        list(iter_batches(_samples(3), batcher, 4))
    with pytest.raises(DataError, match="no samples"):
        batcher.prepare([], 0)
    with pytest.raises(DataError, match="sample x has no image"):
        batcher.prepare([Sample(sample_id="x", image=None, prompt="a", references=())], 0)


def test_what_the_model_cannot_take_is_refused(tiny: Any) -> None:
    with pytest.raises(UsageError, match="needs a processor"):
        Batcher(_config(), None, _model_config())
    with pytest.raises(UsageError, match="smaller than one patch"):
        Batcher(_config(image_size=13), tiny, _model_config())
    with pytest.raises(ModelError, match="<image> token has id 3, the model expects 9"):
        Batcher(_config(), tiny, _model_config(image_token=9))
    with pytest.raises(ModelError, match="embeds 100"):
        Batcher(_config(), tiny, _model_config(vocab=100))
    with pytest.raises(UsageError, match="512 positions"):
        Batcher(_config(dataset="synthetic-random", max_input_len=513), None, _model_config())


def test_random_inputs_have_exact_lengths_and_no_special_ids() -> None:
    config = _config(dataset="synthetic-random", max_input_len=77, image_size=28)
    model_config = _model_config()
    batches = list(
        iter_batches(open_samples(config).samples(6), Batcher(config, None, model_config), 4)
    )
    inputs = batches[0].inputs
    assert inputs["pixel_values"].shape == (4, 3, 28, 28)
    assert inputs["pixel_values"].dtype == torch.float32
    assert inputs["input_ids"].shape == (4, QUERIES + 77)
    assert (inputs["input_ids"][:, :QUERIES] == 3).all()
    text = inputs["input_ids"][:, QUERIES:]
    assert text.min() >= 6
    assert text.max() < 1024
    assert inputs["qformer_input_ids"].shape == (4, 77)
    assert not torch.isin(inputs["qformer_input_ids"], torch.arange(100, 104)).any()
    assert batches[0].record.text_lengths == (77,) * 4
    assert padding_share(batches[0].record) == 0.0
    pixels = inputs["pixel_values"]
    assert abs(pixels.mean().item()) < 0.05
    assert abs(pixels.std().item() - 1) < 0.05
    assert batches[0].samples[0].references == ()


def test_random_sample_is_the_same_in_every_batch_size_and_differs_by_seed() -> None:
    def all_ids(seed: int, batch_size: int) -> torch.Tensor:
        config = _config(
            dataset="synthetic-random",
            image_size=14,
            batch_size=batch_size,
            seed=seed,
            max_input_len=9,
        )
        batcher = Batcher(config, None, _model_config())
        batches = iter_batches(open_samples(config).samples(6), batcher, batch_size)
        return torch.cat([batch.inputs["input_ids"] for batch in batches])

    assert torch.equal(all_ids(0, 2), all_ids(0, 4))
    assert not torch.equal(all_ids(0, 2), all_ids(1, 2))


def test_random_inputs_need_an_image_token() -> None:
    model_config = _model_config()
    for name in ("image_token_id", "image_token_index"):
        if hasattr(model_config, name):
            setattr(model_config, name, None)
    with pytest.raises(ModelError, match="no image_token_id"):
        Batcher(_config(dataset="synthetic-random"), None, model_config)


def test_a_real_generate_takes_the_batch_as_it_is(tiny: Any) -> None:
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = InstructBlipConfig(
        vision_config={**small, "hidden_size": 16, "patch_size": 14, "image_size": 224},
        qformer_config={**small, "hidden_size": 16, "vocab_size": 1024, "encoder_hidden_size": 16},
        text_config={
            "model_type": "t5",
            "vocab_size": 1024,
            "d_model": 16,
            "d_kv": 8,
            "d_ff": 16,
            "num_layers": 1,
            "num_heads": 2,
            "decoder_start_token_id": 0,
        },
        num_query_tokens=QUERIES,
        image_token_index=3,
    )
    torch.manual_seed(0)
    model = InstructBlipForConditionalGeneration(config).eval()
    batch = Batcher(_config(image_size=56, max_input_len=20), tiny, config).prepare(_samples(2), 0)
    with torch.no_grad():
        out = model.generate(
            **batch.to("cpu", torch.float32), interpolate_pos_encoding=True, max_new_tokens=2
        )
    assert out.shape[0] == 2


# The bundled processor


def _builder() -> Any:
    return module_at(ROOT / "scripts" / "build_tiny_processor.py")


def test_the_committed_processor_is_what_the_script_builds(tmp_path: Path) -> None:
    _builder().build(tmp_path)
    built = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.json"))
    assert [str(path) for path in built] == [
        "processor_config.json",
        "qformer_tokenizer/tokenizer.json",
        "qformer_tokenizer/tokenizer_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for path in built:
        assert (tmp_path / path).read_bytes() == (TINY / path).read_bytes(), path


def test_the_processor_loads_with_and_without_a_model_beside_it(tmp_path: Path, tiny: Any) -> None:
    from transformers import InstructBlipProcessor

    _builder().build(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(_model_config().to_dict(), default=str))
    beside = InstructBlipProcessor.from_pretrained(str(tmp_path))
    prompt = "Question: what word is on the blue sign? Short answer:"
    for processor in (tiny, beside):
        assert processor.num_query_tokens == QUERIES
        assert type(processor.image_processor).__name__ == "BlipImageProcessorPil"
        assert processor.tokenizer.convert_tokens_to_ids(["<pad>", "</s>", "<unk>", "<image>"]) == [
            0,
            1,
            2,
            3,
        ]
        assert processor.qformer_tokenizer.convert_tokens_to_ids(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
        ) == [0, 1, 2, 3, 4, 5]
        assert len(processor.tokenizer) <= 1024
        assert len(processor.qformer_tokenizer) <= 1024
        ids = processor.tokenizer(prompt)["input_ids"]
        assert len(ids) == 14  # 10 words, 3 marks, </s>
        assert ids[-1] == 1
        assert ids == tiny.tokenizer(prompt)["input_ids"]


@pytest.mark.parametrize("name", ["synthetic-coco", "synthetic-scienceqa", "synthetic-textvqa"])
def test_the_worlds_text_survives_both_tokenizers(tiny: Any, name: str) -> None:
    unknown, qformer_unknown = tiny.tokenizer.unk_token_id, tiny.qformer_tokenizer.unk_token_id
    for sample in _samples(40, name):
        for text in (sample.prompt, *sample.references):
            ids = tiny.tokenizer(text)["input_ids"]
            assert unknown not in ids
            assert tiny.tokenizer.decode(ids, skip_special_tokens=True) == text
            assert qformer_unknown not in tiny.qformer_tokenizer(text)["input_ids"]


def test_a_prompt_is_as_long_on_the_tiny_tokenizer_as_the_generator_counts(tiny: Any) -> None:
    from layerscope.workload.data.lessons import token_count

    for sample in _samples(20):
        # "(a)" is one piece more for the tokenizer than for nobody: "▁(", "a", ")".
        assert len(tiny.tokenizer(sample.prompt)["input_ids"]) == token_count(sample.prompt) + 1


def test_other_english_is_spelled_out_not_lost(tiny: Any) -> None:
    text = "Which vitamin isn't in this Zebra's 12 oz. soup?"
    ids = tiny.tokenizer(text)["input_ids"]
    assert tiny.tokenizer.decode(ids, skip_special_tokens=True) == text
