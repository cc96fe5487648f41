"""A preparation from its plan to its manifest: shards by several processes, progress, counts, fingerprint."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from spaces.errors import DatasetError, ResourceError
from spaces.files import write_text
from trainables.datasets.base import SPLITS, Progress
from trainables.datasets.contents import Contents
from trainables.datasets.prepare.form import MANIFEST, QUARANTINE, SHARDS, VERSION, Shard, batches, combined
from trainables.datasets.prepare.items import LeftOut
from trainables.datasets.prepare.making import Made, Order, make_shard
from trainables.datasets.prepare.plan import Plan, Wanted, planned
from trainables.datasets.prepared import Countdown

Spread = Callable[[Sequence[Order]], Iterator[Made]]
"""Carries orders out, and yields what became of each as it comes, in any order."""


def prepare(wanted: Wanted, spread: Spread, say: Progress) -> dict[str, object]:
    """Fill a folder with prepared data, or go on where a killed process left it; return its manifest.

    Args:
        wanted: what is prepared, and where.
        spread: carries out the orders, here or on a cluster.
        say: takes a line for the user.

    Raises:
        DatasetError: the data cannot be used at all; what can be left out is, and is listed.
        StorageError: nothing can be written.
        ResourceError: a process that makes shards was killed.
    """
    plan = planned(wanted, say)
    _drop_damaged(wanted.out, plan, say)
    missing = list(plan.missing())
    total, rest = sum(plan.pictures), sum(count for _, count in missing)
    if len(missing) < len(plan.orders) and missing:
        say(
            f"{wanted.kind}: {total - rest:,} of {total:,} pictures are prepared already; goes on with the rest"
        )
    tell = Countdown(f"{wanted.kind}:", rest, "prepared", say)
    counts = {order.name: count for order, count in missing}
    for made in spread([order for order, _ in missing]):
        tell.more(counts[Path(made.shard.file).stem])
    return _finish(wanted, plan, say)


def _drop_damaged(out: Path, plan: Plan, say: Progress) -> None:
    """Take back the records of shards whose bytes are others than when they were written."""
    there = [order for order in plan.orders if order.record.is_file()]
    made = [(order, Made.read(order.record).shard) for order in there]
    paths = [out / SHARDS / shard.file for _, shard in made]
    standing = [(one, path) for one, path in zip(made, paths, strict=True) if path.is_file()]
    found = Contents(f"prepared|{out}").hashes([path for _, path in standing], say)
    for ((order, shard), path), digest in zip(standing, found, strict=True):
        if digest != shard.digest:
            say(f"{path}: damaged; it is made anew")
            order.record.unlink()


def _finish(wanted: Wanted, plan: Plan, say: Progress) -> dict[str, object]:
    """Write quarantine and manifest; return the manifest."""
    made = [Made.read(order.record) for order in plan.orders]
    shards = [one.shard for one in made]
    left_out = [*plan.left_out, *(entry for one in made for entry in one.left_out)]
    unpaired = _unpaired(wanted.out, shards)
    left_out += [one for _, one in unpaired]
    counts = {
        split: {
            noun: sum(getattr(shard, noun) for shard in shards if shard.split == split)
            for noun in ("pictures", "captions", "questions", "statements")
        }
        for split in SPLITS
        if any(shard.split == split for shard in shards)
    }
    for split, _ in unpaired:
        counts[split]["statements"] -= 1
    for split in ("train",) if wanted.asked.val_ratio == 0 else ("train", "val"):
        if not counts.get(split, {}).get("pictures"):
            first = f", such as {left_out[0].place}: {left_out[0].reason}" if left_out else ""
            raise DatasetError(
                f"{wanted.asked.root}: no {split} picture can be read; {len(left_out):,} entries are left out{first}. Mend some, "
                f"and prepare them into another folder than {wanted.out}."
            )
    write_text(
        wanted.out / QUARANTINE,
        "".join(json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in left_out),
    )
    manifest: dict[str, object] = {
        "version": VERSION,
        "kind": wanted.kind,
        "fingerprint": combined(wanted.out, shards),
        "divided": plan.divided,
        "counts": counts,
        "left_out": dict(Counter(one.what for one in left_out)),
        "longest_side": wanted.longest_side,
        "notes": plan.notes,
        "shards": [asdict(shard) for shard in shards],
    }
    write_text(wanted.out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def _unpaired(out: Path, shards: Iterable[Shard]) -> list[tuple[str, LeftOut]]:
    """Return split and entry of the statements whose right picture is not there; who reads the data leaves them out."""
    shards = list(shards)
    if not any(shard.statements for shard in shards):
        return []
    known: dict[str, set[str]] = {}
    asked = []
    for shard in shards:
        for batch, _ in batches(out / SHARDS / shard.file):
            names = batch.column("name").to_pylist()
            known.setdefault(shard.split, set()).update(names)
            if shard.statements:
                asked += [
                    (shard.split, name, one)
                    for name, told in zip(names, batch.column("statements").to_pylist(), strict=True)
                    for one in told
                ]
    return [
        (
            split,
            LeftOut(
                what="statement",
                name=name,
                place=f"statement {one['id']}",
                reason=f"its right picture {one['other']} is left out or not there",
            ),
        )
        for split, name, one in asked
        if one["other"] not in known[split]
    ]


def in_processes(workers: int) -> Spread:
    """Return what carries orders out in so many processes of this machine."""

    def spread(orders: Sequence[Order]) -> Iterator[Made]:
        if workers == 1 or len(orders) < 2:
            yield from map(make_shard, orders)
            return
        pool = ProcessPoolExecutor(
            min(workers, len(orders)), mp_context=get_context("spawn"), initializer=_end_with_parent
        )
        rest = iter(orders)
        running: set[Future[Made]] = set()
        try:
            while True:
                running |= {pool.submit(make_shard, one) for one in islice(rest, 2 * workers - len(running))}
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    yield one.result()
        except BrokenProcessPool as error:
            raise ResourceError(
                "a process of the preparation was killed, perhaps for want of memory. Run the same command again, with fewer "
                "--workers: it goes on where it was."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    return spread


def _end_with_parent() -> None:
    """Let this process end with the one that started it, even where that one is killed: nobody would take its shards.

    Ctrl-C is for that one to hear, which lets shards that are begun be finished.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            wait_for([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
