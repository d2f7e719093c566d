"""A chat about a picture: questions on standard input, answers streamed out of a thread."""

import sys
import threading
import time

from random_qwen import Picture, arguments, inputs_of, load, tokenizer_of
from transformers import TextIteratorStreamer

MOST_HISTORY = 128  # tokens; what is older is forgotten

args = arguments()
model = load(args)
tokenizer = tokenizer_of(model)
picture = Picture(model, seed=1)
history = tokenizer(" ".join(f"w{number}" for number in range(2, 2 + MOST_HISTORY))).input_ids
for turn, question in enumerate(sys.stdin, start=1):
    history = (history + tokenizer(question).input_ids)[-MOST_HISTORY:]
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    given = inputs_of(model, [picture], [history], tokenizer.pad_token_id)
    given |= {
        "streamer": streamer,
        "max_new_tokens": args.new_tokens,
        "min_new_tokens": args.new_tokens,
        "do_sample": False,
        "pad_token_id": tokenizer.pad_token_id,
    }
    began = time.perf_counter()
    thread = threading.Thread(target=model.generate, kwargs=given)
    thread.start()
    answer = ""
    for piece in streamer:
        answer += piece
    thread.join()
    took = time.perf_counter() - began
    history = (history + tokenizer(answer).input_ids)[-MOST_HISTORY:]
    print(f"turn {turn}: {answer} [{took:.5f} s]", flush=True)
