"""A batch job: generate() in a loop."""

import torch
from small import language_model

model = language_model()
with torch.inference_mode():
    for batch in range(4):
        ids = torch.randint(2, 500, (2, 8), generator=torch.Generator().manual_seed(batch))
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False
        )
        print(batch, out[:, 8:].tolist())
