"""What the hub would give, made here: a checkpoint folder and three data sets in the hub's layouts.

The checkpoint is an InstructBLIP of any size with random weights, written by `save_pretrained` in
shards, with the real tokenizers beside it. The data are layerscope's own drawings in the columns and
file names that the hub has. Nothing in it answers anything; everything in it loads as the real does.

    python scripts/stand_in_hub.py OUT --processor FOLDER                 # a small model, 300 samples
    python scripts/stand_in_hub.py OUT --processor FOLDER --model instructblip-flan-t5-xl --device cuda
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import hub_layouts  # noqa: E402

# layerscope's own prompt template for lettered questions.
_ASKED = re.compile(r"(?:Context: (.*) )?Question: (.*?) Options: .*", re.S)
# As wide as the real tokenizers ask for, and small everywhere else.
SMALL: dict[str, Any] = {
    "num_query_tokens": 8,
    "vision_config": {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 224,
        "patch_size": 14,
    },
    "qformer_config": {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "encoder_hidden_size": 48,
        "vocab_size": 30523,
    },
    "text_config": {
        "model_type": "t5",
        "d_model": 48,
        "d_ff": 96,
        "d_kv": 12,
        "num_heads": 4,
        "num_layers": 2,
        "vocab_size": 32128,
        "is_gated_act": True,
        "feed_forward_proj": "gated-gelu",
        "dense_act_fn": "gelu_new",
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
    },
    "image_token_index": 32100,
}


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--processor", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", help="A shipped architecture; left out, a small one.")
@click.option("--device", default="cpu")
@click.option("--samples", default=300)
@click.option("--shard", default="2GB", help="Largest shard of the weights.")
def main(
    out: Path, processor: Path, model: str | None, device: str, samples: int, shard: str
) -> None:
    """Write OUT/model and OUT/data."""
    write_model(out / "model", processor, model, device, shard)
    write_data(out / "data", samples)
    click.echo(f"{out}/model, {out}/data")


def write_model(folder: Path, processor: Path, model: str | None, device: str, shard: str) -> None:
    """A checkpoint in shards, in the dtypes that a user's checkpoint on the hub has (fp32 masters)."""
    import torch
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

    if model is None:
        torch.manual_seed(0)
        built = InstructBlipForConditionalGeneration(InstructBlipConfig(**SMALL)).eval()
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.05)
    else:
        from layerscope.workload.architecture import build, find_architecture

        built = build(
            find_architecture(model),
            dtype=torch.float16,
            layout="from_pretrained",
            attention="sdpa",
            device=device,
            seed=0,
        )
    built.save_pretrained(folder, max_shard_size=shard)
    shutil.copytree(processor, folder, dirs_exist_ok=True)


def write_data(folder: Path, samples: int) -> None:
    """COCO captions, ScienceQA and TextVQA as the hub holds them, drawn."""
    from layerscope.workload.data.lessons import make_lesson
    from layerscope.workload.data.synthetic import SyntheticSource

    for name in ("coco", "scienceqa", "textvqa"):
        source = SyntheticSource(f"synthetic-{name}", seed=0)
        rows = []
        for index in range(samples):
            sample = source.sample(index)
            given: dict[str, Any] = {"image": hub_layouts.stored(sample.image)}
            if name == "scienceqa":
                lesson = make_lesson(source.dice_at(index))
                hint, question = _ASKED.fullmatch(sample.prompt).groups()  # type: ignore[union-attr]
                given |= {
                    "question": question,
                    "choices": list(lesson.choices),
                    "answer": lesson.answer,
                    "hint": hint or "",
                }
            elif name == "coco":
                given["answer"] = list(sample.references)
            else:
                question = sample.prompt.removeprefix("Question: ").removesuffix(" Short answer:")
                given |= {"question": question, "answers": [sample.references[0]] * 10}
            rows.append(hub_layouts.row(name, index, **given))
        hub_layouts.write(name, rows, folder / name, files=2)


if __name__ == "__main__":
    main()
