"""Rows 4 and 7: what trials cost beside their training, in CPU time and in memory."""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.rows.row import Asked, Row, again, row_of
from tests.benchmarks.rows.share import search
from tests.benchmarks.trial_overhead import SKIPPED, TINY, TRIALS, measure, processes_below
from trainables.share import usable_cores

QUICK_TRIALS = 9
HELD_S = 300.0  # as long as the first trials wait for the others
TRIAL = b"ray::ImplicitFunc"  # as Ray calls the process of a function that Tune runs


def overhead(asked: Asked) -> list[Row]:
    """Return CPU seconds of all processes per trial, less training and evaluation, with one worker and with two.

    The spread is that of thirds of the trials: what two that run at the same time cost cannot be told apart.
    """
    rows, whole = list[Row](), []
    for workers in (1, 2):
        with contextlib.redirect_stdout(sys.stderr):
            told = measure(workers, QUICK_TRIALS + workers - 1 if asked.quick else TRIALS + TRIALS // 2)
        if told["code"]:
            raise RuntimeError(f"the search of {workers} workers ended with exit code {told['code']}")
        each = told["overhead_cpu_s"]
        thirds = [each[number * len(each) // 3 : (number + 1) * len(each) // 3] for number in range(3)]
        name = f"overhead per trial, {workers} worker{'s' * (workers > 1)}, behind the first {SKIPPED}"
        means = [sum(third) / len(third) for third in thirds]
        rows.append(row_of(name, means, again(4, asked), unit="CPU s", n=told["trials"]))
        whole.append(told["overhead_cpu_s_per_trial"])
    return [*rows, row_of("  two workers / one", [whole[1] / whole[0]], again(4, asked), n=1)]


class Memory(threading.Thread):
    """Samples the memory of the trials below this process, and how many there were, twice a second.

    The first trials are held until as many as are wanted have a process: on a busy machine they would be through before.
    """

    def __init__(self, wanted: int) -> None:
        super().__init__(daemon=True)
        self.wanted, self.held = wanted, wanted > 1
        self.samples: list[tuple[int, float]] = []
        self.driver = 0.0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Sample."""
        patience = time.monotonic() + HELD_S
        while not self._stop_asked.wait(0.5):
            found = dict(memory_of_trials())
            self.samples.append((len(found), sum(found.values())))
            self.driver = max(self.driver, pss_mib(os.getpid()) or 0.0)
            if self.held:
                self.held = len(found) < self.wanted and time.monotonic() < patience
                for pid in found:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP if self.held else signal.SIGCONT)

    def end(self) -> None:
        """Sample no more."""
        self._stop_asked.set()
        self.join()

    def most(self, trials: int) -> float:
        """Return the most that so many trials held together, in MiB.

        Raises:
            RuntimeError: so many never ran at the same time.
        """
        found = [mib for number, mib in self.samples if number == trials]
        if not found:
            raise RuntimeError(
                f"{trials} trials never ran at once; counted {sorted({number for number, _ in self.samples})}"
            )
        return max(found)


def memory(asked: Asked) -> list[Row]:
    """Return the proportional memory (Pss) of one trial's process, and of as many as there are cores."""
    cores, repeats = usable_cores(), 1 if asked.quick else 2
    alone, together, driver = list[float](), list[float](), list[float]()
    for _ in range(repeats):
        alone.append(_searched(1).most(1))
        many = _searched(cores)
        together.append(many.most(cores))
        driver.append(many.driver)
    command = again(7, asked)
    ratios = [many / one for many, one in zip(together, alone, strict=True)]
    return [
        row_of("memory of one trial (Pss)", alone, command, unit="MiB"),
        row_of(f"  {cores} concurrent trials / one", ratios, command),
        row_of(f"  driver of {cores} trials (Pss)", driver, command, unit="MiB"),
    ]


def memory_of_trials() -> Iterator[tuple[int, float]]:
    """Yield each process below this one that runs a trial, and its memory in MiB."""
    for pid in processes_below():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # it has just ended
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            if title.startswith(TRIAL) and (mib := pss_mib(pid)):
                yield pid, mib


def pss_mib(pid: int) -> float | None:
    """Return the memory of a process with its share of shared pages, None for one that has ended."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return None


def _searched(concurrent: int) -> Memory:
    """Return what was sampled while a search ran so many trials at once."""
    watch = Memory(concurrent)
    with tempfile.TemporaryDirectory() as place:
        watch.start()
        words = [word for one in TINY for word in ("--set", one)]
        trials = ("--trials", str(3 * concurrent), "--max-concurrent", str(concurrent))
        search(Path(place) / "run", *trials, *words)
        watch.end()
    return watch
