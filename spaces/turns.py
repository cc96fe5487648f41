"""What several processes may want to make at the same time, and one does: a cache is filled once, the others wait for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spaces.owner import LOOK_EVERY_S, OWNER_FILE, Busy, Place, owned

TOLD_EVERY_S = 30.0


@contextmanager
def in_turn(target: Path, noun: str, *, say: Callable[[str], None]) -> Iterator[None]:
    """Be the one process that fills a folder or makes a file, as long as the block lasts; wait until it is our turn.

    What was missing may be there by then: to be looked at again inside. Where the process that fills it dies, its work is
    taken over. Should two fill it after all, nothing is lost: each renames what it has completed.

    Args:
        target: a folder that is there, or a file that may not be.
        noun: what it is called.
        say: takes a line on whom we wait for, now and then.

    Raises:
        StorageError: nothing can be written there.
    """
    mark = target / OWNER_FILE if target.is_dir() else target.with_name(f"{target.name}.{OWNER_FILE}")
    place = Place(noun=noun, path=target, mark=mark, ends=False)
    began, told = time.monotonic(), -TOLD_EVERY_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(owned(place, say=say))
                break
            except Busy as busy:
                waited = time.monotonic() - began
                if waited - told >= TOLD_EVERY_S:
                    told = waited
                    who = busy.who or "another process"
                    say(
                        f"{place}: {who} fills it; waiting for it, {waited:.0f} s so far (Ctrl-C ends the wait)"
                    )
                time.sleep(LOOK_EVERY_S)
        yield
