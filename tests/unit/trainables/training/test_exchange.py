"""Driver and workers of nested trials: orders one way, rows the other, a verdict for each."""

import asyncio
from typing import Any

from trainables.exchange import CLOSED, DONE, ROW, Exchange

ORDER = {"job": 1}


async def work(exchange: Exchange, told: list[Any], *, epochs: int) -> None:
    """Be rank 0: carry out orders, a row per epoch, until there are none."""
    while await exchange.wait_for_order():
        order = await exchange.order()
        for epoch in range(1, epochs + 1):
            if not await exchange.report({"epoch": epoch}):
                told.append((order, "stopped", epoch))
                break
        else:
            told.append((order, "done", epochs))
            await exchange.done()


def test_workers_take_one_order_after_another_and_stop_where_they_are_told() -> None:
    async def drive() -> tuple[list[Any], list[Any]]:
        exchange, told, events = Exchange(idle_s=60.0), [], []
        working = asyncio.create_task(work(exchange, told, epochs=2))
        assert await exchange.offer(ORDER)
        for _ in range(2):
            events.append(await exchange.event())
            await exchange.decide(True)
        events.append(await exchange.event())
        assert await exchange.offer({"job": 2})
        events.append(await exchange.event())
        await exchange.decide(False)
        await exchange.close()
        await working
        return told, events

    told, events = asyncio.run(drive())
    assert told == [(ORDER, "done", 2), ({"job": 2}, "stopped", 1)]
    assert events == [(ROW, {"epoch": 1}), (ROW, {"epoch": 2}), (DONE, None), (ROW, {"epoch": 1})]


def test_idle_workers_leave_and_take_no_order_any_more() -> None:
    async def drive() -> None:
        exchange = Exchange(idle_s=0.01)
        assert not await exchange.wait_for_order()
        assert await exchange.order() is None
        assert not await exchange.offer(ORDER)

    asyncio.run(drive())


def test_a_driver_who_waits_is_told_that_its_workers_are_gone() -> None:
    async def drive() -> Any:
        exchange = Exchange(idle_s=60.0)
        assert await exchange.offer(ORDER)
        assert await exchange.wait_for_order()
        await exchange.close()
        return await exchange.event()

    assert asyncio.run(drive()) == (CLOSED, None)
