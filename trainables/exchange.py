"""Where the driver of nested trials meets its workers, who stay for one candidate after another.

Starting a group of Ray Train's workers takes 20 CPU-seconds and more, nearly all of it imports and process starts.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, final

ROW, DONE, CLOSED = "row", "done", "closed"

Order = Mapping[str, Any]
Event = tuple[str, Any]


@final
class Exchange:
    """Orders one way; rows the other, each of which waits for its verdict. Rank 0 speaks for all workers.

    A Ray actor, though it needs neither Ray nor torch: its process shall stay small.
    """

    def __init__(self, *, idle_s: float) -> None:
        """Take how long workers wait for an order before they leave, so that idle ones hold no CPU for good."""
        self._idle_s, self._closed = idle_s, False
        self._order: Order | None = None
        self._orders: asyncio.Queue[Order | None] = asyncio.Queue()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._verdicts: asyncio.Queue[bool] = asyncio.Queue()

    async def offer(self, order: Order) -> bool:
        """Take the order for one candidate; False if the workers have left."""
        if not self._closed:
            self._orders.put_nowait(order)
        return not self._closed

    async def event(self) -> Event:
        """Return a row, that the candidate is done, or that there are no workers any more."""
        return await self._events.get()

    async def decide(self, go_on: bool) -> None:
        """Answer the last row."""
        self._verdicts.put_nowait(go_on)

    async def close(self) -> None:
        """Let the workers leave, or tell the driver that they have."""
        self._closed = True
        self._orders.put_nowait(None)
        self._events.put_nowait((CLOSED, None))

    async def wait_for_order(self) -> bool:
        """Return whether there is an order, which every rank then gets by `order`."""
        try:
            self._order = await asyncio.wait_for(self._orders.get(), self._idle_s)
        except TimeoutError:
            self._closed, self._order = True, None
        return self._order is not None

    async def order(self) -> Order | None:
        """Return the order that is being carried out."""
        return self._order

    async def report(self, row: dict[str, Any]) -> bool:
        """Hand over a row; return whether to go on."""
        self._events.put_nowait((ROW, row))
        return await self._verdicts.get()

    async def done(self) -> None:
        """Tell that the candidate is trained."""
        self._events.put_nowait((DONE, None))
