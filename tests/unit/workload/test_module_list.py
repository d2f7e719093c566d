"""The module list: order, own parameters, ties, dtypes; on a hand-counted net and InstructBLIP."""

from __future__ import annotations

import torch
from torch import nn

from layerscope.workload.architecture import build, find_architecture
from layerscope.workload.module_list import attention_in_use, list_modules, model_record


class Net(nn.Module):
    """5 of its own, a tied pair of 3 x 4 and a half-precision norm of 4 + 4."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))
        self.embedding = nn.Embedding(3, 4)
        self.norm = nn.LayerNorm(4).half()
        self.blocks = nn.ModuleList([nn.ReLU()])
        self.lm_head = nn.Linear(4, 3)
        self.lm_head.weight = self.embedding.weight
        self.lm_head.bias.data = self.lm_head.bias.data.half()


def test_hand_counted_net() -> None:
    rows = [(m.fqn, m.cls, m.params, m.dtype) for m in list_modules(Net())]
    assert rows == [
        ("", "Net", 5, "float32"),
        ("embedding", "Embedding", 12, "float32"),
        ("norm", "LayerNorm", 8, "float16"),
        ("blocks", "ModuleList", 0, None),
        ("blocks.0", "ReLU", 0, None),
        ("lm_head", "Linear", 3, "float16+float32"),
    ]


def test_record_of_the_hand_counted_net() -> None:
    record = model_record(Net(), name="net", source="folder", weights="none", trained=False)
    assert record.params == 5 + 12 + 8 + 3 == sum(m.params for m in record.modules)
    assert record.param_bytes == 4 * (5 + 12) + 2 * (8 + 3)
    assert record.dtypes == {"float16": 11, "float32": 17}
    assert record.attention == {}


def test_instructblip_adds_up_and_is_grouped() -> None:
    model = build(
        find_architecture("tiny"),
        dtype=torch.float16,
        layout="from_pretrained",
        attention="eager",
        device="cpu",
        seed=0,
    )
    modules = list_modules(model)
    assert [m.fqn for m in modules] == [name for name, _ in model.named_modules()]
    assert sum(m.params for m in modules) == sum(p.numel() for p in model.parameters())
    by_name = {m.fqn: m for m in modules}
    assert by_name["language_model.shared"].params == 1024 * 128
    assert by_name["language_model.lm_head"].params == 0  # tied to language_model.shared
    assert by_name["vision_model.embeddings.patch_embedding"].group == "vision.conv"
    wo = by_name["language_model.encoder.block.0.layer.1.DenseReluDense.wo"]
    assert (wo.dtype, wo.params, wo.group) == ("float32", 256 * 128, "encoder.ffn")
    assert attention_in_use(model) == {"vision": "eager", "qformer": "eager", "language": "eager"}
