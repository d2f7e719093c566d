"""Qwen2.5-VL by its configuration, with random weights: what the two programs beside this load."""

import argparse
import time

import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast, Qwen2_5_VLConfig

PATCHES_A_SIDE = 16  # 224 pixels


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--new-tokens", type=int, default=16)
    return parser.parse_args()


def load(args):
    began = time.perf_counter()
    with open(args.config) as file:
        config = Qwen2_5_VLConfig.from_dict(yaml.safe_load(file))
    torch.manual_seed(0)
    with torch.device(args.device):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16).eval()
    print(f"loaded in {time.perf_counter() - began:.1f} s", flush=True)
    return model


def tokenizer_of(model):
    words = {f"w{number}": number for number in range(model.config.text_config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w1", padding_side="left")  # noqa: S106


class Picture:
    """Random pixels as the image processor would give them, and the tokens they become."""

    def __init__(self, model, seed):
        vision = model.config.vision_config
        generator = torch.Generator().manual_seed(seed)
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        self.pixel_values = torch.randn(PATCHES_A_SIDE**2, values, generator=generator)
        self.grid = [1, PATCHES_A_SIDE, PATCHES_A_SIDE]
        count = PATCHES_A_SIDE**2 // vision.spatial_merge_size**2
        image = [model.config.image_token_id] * count
        self.tokens = [model.config.vision_start_token_id, *image, model.config.vision_end_token_id]


def inputs_of(model, pictures, texts, padding):
    """One row a picture and the token ids of its text, padded on the left."""
    rows = [picture.tokens + text for picture, text in zip(pictures, texts, strict=True)]
    longest = max(map(len, rows))
    ids = torch.tensor([[padding] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    pixels = torch.cat([picture.pixel_values for picture in pictures])
    return {
        "input_ids": ids.to(model.device),
        "attention_mask": mask.to(model.device),
        "mm_token_type_ids": (ids == model.config.image_token_id).int().to(model.device),
        "pixel_values": pixels.to(model.device, model.dtype),
        "image_grid_thw": torch.tensor([picture.grid for picture in pictures]).to(model.device),
    }
