"""A compiled model."""

import torch
from small import classifier

model = torch.compile(classifier())
with torch.no_grad():
    for step in range(5):
        print(round(float(model(torch.full((4, 32), float(step))).sum()), 3))
