"""Examples that a thread makes ready while a GPU computes: the host then has the next one when the device is done."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

Item = TypeVar("Item")


def made_ahead(items: Iterator[Item], device: torch.device) -> Iterator[Item]:
    """Yield items that are made one ahead by a thread, in the same order; on a CPU, which has no time to spare, as they come.

    Copying rows of pictures and of a cache gives Python's lock away. Whoever stops early waits for the one that is being made.

    Args:
        items: none of them None; nothing that they change may be looked at by others meanwhile.
        device: where they are made; a thread begins on the first GPU, whichever the process has taken.
    """
    if device.type != "cuda":
        yield from items
        return
    settle = partial(torch.cuda.set_device, torch.cuda.current_device())
    with ThreadPoolExecutor(1, "examples", initializer=settle) as pool:
        due = pool.submit(next, items, None)
        while (item := due.result()) is not None:
            due = pool.submit(next, items, None)
            yield item
