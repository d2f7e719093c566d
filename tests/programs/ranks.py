"""Data-parallel training of two processes with gloo, each started by torch's own spawn."""

import os

import torch
import torch.distributed as dist
from small import classifier
from torch.nn.parallel import DistributedDataParallel


def work(rank, world):
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    dist.init_process_group(
        "gloo", rank=rank, world_size=world, init_method=f"file://{os.environ['MEETING']}"
    )
    model = DistributedDataParallel(classifier())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(5):
        loss = model(torch.full((2, 32), float(rank + step))).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dist.barrier()
    if rank == 0:
        print("loss", round(loss.item(), 4))
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.spawn(work, (2,), nprocs=2)
