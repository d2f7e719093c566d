"""A script that fails after a while."""

import torch
from small import classifier

model = classifier()
with torch.no_grad():
    for _ in range(4):
        print(float(model(torch.ones(2, 32)).sum()) != 0)
raise SystemError("the disk of someone else")
