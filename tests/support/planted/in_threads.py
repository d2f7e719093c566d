"""A call of a model in, the same call by several threads at once out."""

from __future__ import annotations

import threading

import torch

from support.planted.planting import Call


def in_threads(call: Call, threads: int) -> Call:
    """Let so many threads call the model at once; of `Replicas`, each its own copy.

    An error in a thread is raised by the caller.
    """

    def run(model: torch.nn.Module) -> None:
        copies = list(getattr(model, "copies", ()))
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                with torch.no_grad():
                    call(copies[number] if copies else model)
            except BaseException as error:
                errors.append(error)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if errors:
            raise errors[0]

    return run
