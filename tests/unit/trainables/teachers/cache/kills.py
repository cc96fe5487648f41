"""Fillings that are killed at any moment, and what has to be true after each."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from spaces.owner import OWNER_FILE
from tests.unit.trainables.small import silent
from tests.unit.trainables.teachers.cache.caches import parts
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Wants
from trainables.teachers.cache.contents import read_contents
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.part_file import PartFile
from trainables.teachers.cache.plan import Kept
from trainables.teachers.teacher import Teacher

WORKERS = 2


def children_of(pid: int) -> set[int]:
    """Return the processes that a process has started, as Linux tells."""
    found = set[int]()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # one that has just ended is not there any more: its children are another's
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, (thread / "children").read_text().split()))
    return found


def lives(pid: int) -> bool:
    """Return whether a process has not ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Fills:
    """Fills one cache again and again, in processes of their own."""

    def __init__(self, teacher: Teacher, split: EncodedSplit, wants: Wants) -> None:
        self.teacher, self.split, self.wants = teacher, split, wants

    def start(self, folder: Path) -> int:
        """Begin to fill a folder; return the process."""
        pid = os.fork()
        if pid == 0:
            try:
                how = Filling(say=silent, workers=WORKERS)
                fill_cache(folder, self.teacher, self.split, self.wants, Kept(precision="float32"), how)
            finally:
                os._exit(0 if self.is_whole(folder) else 1)
        return pid

    def whole(self, folder: Path) -> float:
        """Fill a folder to the end; return how long that took, in seconds."""
        began = time.monotonic()
        _, status = os.waitpid(self.start(folder), 0)
        assert status == 0
        return time.monotonic() - began

    def killed(self, folder: Path, after: float) -> bool:
        """Fill a folder and kill that after some seconds; return whether it was not done by then."""
        pid = self.start(folder)
        time.sleep(after)
        orphans = children_of(pid)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        while any(map(lives, orphans)):  # they end when they want to tell it how far they are
            time.sleep(0.01)
        return os.WIFSIGNALED(status)

    def is_whole(self, folder: Path) -> bool:
        """Return whether all that is wanted is there."""
        return self.wants <= read_contents(folder).wants

    def check_kills(self, place: Path, kills: int, seed: int) -> dict[str, bytes]:
        """Kill fillings of a folder at random moments, look at it after each; return what it holds when it was filled at last."""
        moments, folder, done = random.Random(seed), place / "first", 0
        longest = self.whole(place / "unharmed")
        while done < kills:
            if self.killed(folder, moments.uniform(0.0, longest)):
                done += 1
            elif done < kills:
                folder = place / f"after {done}"  # it was quicker: others are killed in another folder
            for path in parts(folder):
                PartFile(path).check()
        self.whole(folder)
        # whoever was killed behind its last part has not given its place back; its mark is nobody's
        left = {path.name for path in folder.iterdir()} - {OWNER_FILE}
        assert left == {"meta.json", *(path.name for path in parts(folder))}
        return {path.name: path.read_bytes() for path in parts(folder)}
