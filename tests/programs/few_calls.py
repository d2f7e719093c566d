"""A program that calls its model twice."""

import torch
from small import classifier

model = classifier()
print(model(torch.ones(1, 32)).shape, model(torch.ones(1, 32)).shape)
