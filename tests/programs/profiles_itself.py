"""A program that uses torch.profiler around all it does."""

import torch
from small import classifier

model = classifier()
activities = [torch.profiler.ProfilerActivity.CPU]
with torch.profiler.profile(activities=activities) as profiler, torch.no_grad():
    for _ in range(5):
        model(torch.ones(2, 32))
print("events", len(profiler.events()) > 0)
