"""Model folders in the hub's own layout with their processors, made without the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.architectures import ARCHITECTURES

CHAT = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def save_llava(folder: Path) -> Path:
    """A LLaVA of random weights whose processor has a chat template."""
    import torch
    from transformers import AutoModelForImageTextToText, CLIPImageProcessor, LlavaProcessor

    tokenizer = _tokenizer()
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    processor.save_pretrained(folder)
    config = _fitted("llava", tokenizer)
    torch.manual_seed(0)
    auto: Any = AutoModelForImageTextToText
    auto.from_config(config).save_pretrained(folder)
    return folder


def save_blip2(folder: Path) -> Path:
    """A BLIP-2 of random weights: no chat template, and a processor that writes the image's tokens."""
    import torch
    from transformers import AutoModelForImageTextToText, Blip2Processor, BlipImageProcessor

    tokenizer = _tokenizer()
    processor = Blip2Processor(
        image_processor=BlipImageProcessor(size={"height": 56, "width": 56}),
        tokenizer=tokenizer,
        num_query_tokens=8,
    )
    processor.save_pretrained(folder)
    torch.manual_seed(0)
    auto: Any = AutoModelForImageTextToText
    auto.from_config(_fitted("blip2", tokenizer)).save_pretrained(folder)
    return folder


def save_idefics3(folder: Path) -> Path:
    """An Idefics3 of random weights; its processor enlarges an image and cuts it into tiles of 56 px."""
    import torch
    from transformers import AutoModelForImageTextToText, Idefics3ImageProcessor, Idefics3Processor

    tokenizer = _tokenizer()
    tokenizer.add_tokens(["<fake_token_around_image>", "<global-img>", "<end_of_utterance>"])
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessor(
            size={"longest_edge": 224}, max_image_size={"longest_edge": 56}
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=CHAT,
    )
    processor.save_pretrained(folder)
    config = _fitted("idefics3", tokenizer)
    config.image_token_id = config.image_token_index
    torch.manual_seed(0)
    auto: Any = AutoModelForImageTextToText
    auto.from_config(config).save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from transformers import AutoTokenizer

    from layerscope.workload.architecture import bundled_folder

    return AutoTokenizer.from_pretrained(bundled_folder())


def _fitted(name: str, tokenizer: Any) -> Any:
    """The architecture's configuration with the tokenizer's vocabulary and image token."""
    import copy

    from transformers import CONFIG_MAPPING

    raw = copy.deepcopy(ARCHITECTURES[name])
    raw["image_token_index"] = tokenizer.convert_tokens_to_ids("<image>")
    raw["text_config"]["vocab_size"] = len(tokenizer)
    kind: Any = CONFIG_MAPPING[raw["model_type"]]
    return kind.from_dict(raw)
