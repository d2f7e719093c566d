"""A server that answers what has come in while it was busy as one batch; and its clients."""

import queue
import threading
import time

import torch
from random_qwen import Picture, arguments, inputs_of, load, tokenizer_of

MOST_IN_A_BATCH = 8
BURSTS = [*range(1, MOST_IN_A_BATCH + 1), *[4] * 16]  # requests that come in together


class Server:
    """One worker thread, which alone touches the model."""

    def __init__(self, model, tokenizer, new_tokens):
        self.model, self.tokenizer, self.new_tokens = model, tokenizer, new_tokens
        self.requests = queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def ask(self, picture, text):
        answered = queue.Queue()
        self.requests.put((picture, text, answered))
        return answered

    def work(self):
        while True:
            batch = [self.requests.get()]
            try:
                while len(batch) < MOST_IN_A_BATCH:
                    batch.append(self.requests.get(timeout=0.02))
            except queue.Empty:
                pass
            self.answer(batch)

    @torch.inference_mode()
    def answer(self, batch):
        pictures, texts, waiting = zip(*batch, strict=True)
        began = time.perf_counter()
        tokens = [self.tokenizer(text).input_ids for text in texts]
        given = inputs_of(self.model, pictures, tokens, self.tokenizer.pad_token_id)
        out = self.model.generate(
            **given,
            max_new_tokens=self.new_tokens,
            min_new_tokens=self.new_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        answers = self.tokenizer.batch_decode(out[:, given["input_ids"].shape[1] :])
        took = time.perf_counter() - began
        for answer, answered in zip(answers, waiting, strict=True):
            answered.put((answer, took, len(batch)))


args = arguments()
model = load(args)
server = Server(model, tokenizer_of(model), args.new_tokens)
pictures = [Picture(model, seed) for seed in range(MOST_IN_A_BATCH)]
for number, size in enumerate(BURSTS, start=1):
    texts = [" ".join(f"w{10 + word}" for word in range(20 + 5 * place)) for place in range(size)]
    waiting = [server.ask(*asked) for asked in zip(pictures, texts, strict=False)]
    answers = [answered.get() for answered in waiting]
    first, took, together = answers[0]
    print(
        f"burst {number} of {size}, answered {together} at once: {first} [{took:.5f} s]", flush=True
    )
