"""A service that answers for a long time and says what it holds: calls, KiB, open files, threads."""

import os
import sys

import torch
from small import classifier

model = classifier()
torch.set_num_threads(1)


def held_kib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


with torch.inference_mode():
    for call in range(1, int(sys.argv[1]) + 1):
        model(torch.ones(1, 32))
        if call % 20 == 0:
            files, threads = os.listdir("/proc/self/fd"), os.listdir("/proc/self/task")
            print(call, held_kib(), len(files), len(threads), flush=True)
