"""A plain training loop with a DataLoader of two workers."""

import torch
from small import classifier
from torch.utils.data import DataLoader, TensorDataset

if __name__ == "__main__":
    model = classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    data = TensorDataset(torch.arange(64 * 32).reshape(64, 32) / 2048, torch.arange(64) % 10)
    for step, (x, y) in enumerate(DataLoader(data, batch_size=8, num_workers=2)):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(step, round(loss.item(), 4))
