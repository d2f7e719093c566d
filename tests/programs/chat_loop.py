"""A chat loop that streams from a thread, as transformers' documentation writes it."""

import threading

import torch
from small import language_model


class Streamer:
    """Takes tokens as they come."""

    def __init__(self):
        self.tokens = []

    def put(self, value):
        self.tokens.extend(value.flatten().tolist())

    def end(self):
        pass


model = language_model()
for turn in range(5):
    streamer = Streamer()
    ids = torch.full((1, 6), turn + 2)
    given = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "streamer": streamer,
        "max_new_tokens": 4,
        "do_sample": False,
    }
    thread = threading.Thread(target=model.generate, kwargs=given)
    thread.start()
    thread.join()
    print("turn", turn, streamer.tokens)
