"""Latency of whatever is asked for on one target: told at once where it is known, else measured in the background."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import final

from trainables.costs.latency import Latency
from trainables.costs.subject import Subject
from trainables.costs.target import Target

Measure = Callable[[Sequence[Subject]], Sequence[Latency]]
"""Measures subjects, which takes a while, and returns the latency of each."""

CLOSING_S = 60.0  # for what cannot be ended: a task on a cluster, with what it has begun
TOGETHER = 12  # subjects that are measured in one go: their blocks are interleaved, and who is asked for waits for no more


@final
class Latencies:
    """Figures of one target. None of its calls but `measured` and `wait` takes long.

    A figure stays as it was first told, so that all candidates of a session are compared by the same table. What is asked for
    is measured in the order in which it was asked for, and before what is only likely to be.
    """

    def __init__(self) -> None:
        """Begin with nothing known; `open` brings a target."""
        self.target: Target | None = None
        self._measure: Measure | None = None
        self._table: Callable[[Subject], Latency | None] = lambda subject: None
        self._close: Callable[[], None] = lambda: None
        self._known: dict[str, Latency] = {}
        self._asked: dict[str, Subject] = {}
        self._likely: dict[str, Subject] = {}
        self._running = 0
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def open(
        self,
        target: Target,
        measure: Measure,
        *,
        table: Callable[[Subject], Latency | None] | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to measure; what was asked for before comes first.

        Args:
            target: where.
            measure: called in a thread of its own, never twice at a time.
            table: what is known already, by a look at small files; None where they cannot be seen from here.
            close: ends what `measure` has begun; called from another thread than it.
        """
        with self._changed:
            self.target, self._measure, self._close, self._closed = target, measure, close, False
            self._table = table or self._table
            self._begin()

    def known(self, subject: Subject) -> Latency | None:
        """Return the latency of a subject; None where it has to be measured, see `ask`.

        Raises:
            StudentSearchError: measuring failed.
        """
        key = _key(subject)
        with self._changed:
            self._raise()
            if key in self._known or key in self._asked or self._measure is None:
                return self._known.get(key)
        found = self._table(subject)
        if found is not None:
            with self._changed:
                found = self._known.setdefault(key, found)
        return found

    def ask(self, subjects: Sequence[Subject], *, likely: bool = False) -> None:
        """Have subjects measured; `likely` ones after all that somebody waits for."""
        with self._changed:
            for subject in subjects:
                key = _key(subject)
                if key not in self._known and not likely:
                    self._likely.pop(key, None)
                    self._asked.setdefault(key, subject)
                elif key not in self._known and key not in self._asked:
                    self._likely.setdefault(key, subject)
            self._begin()
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until another figure is known, or so long; return whether anything is being measured."""
        with self._changed:
            if self._measure is None or not self._busy:
                return False
            before = len(self._known)
            self._changed.wait_for(lambda: self._error is not None or len(self._known) > before, seconds)
            return True

    def measured(self, subjects: Sequence[Subject]) -> list[Latency]:
        """Return the latency of each subject, measured where it is not known: for what the search needs to begin.

        Raises:
            StudentSearchError: measuring failed.
        """
        found = [self.known(subject) for subject in subjects]
        self.ask([subject for subject, latency in zip(subjects, found, strict=True) if latency is None])
        while any(latency is None for latency in found):
            self.wait(1.0)
            found = [self.known(subject) for subject in subjects]
        return [latency for latency in found if latency is not None]

    def close(self) -> None:
        """Measure no more; what is known stays. Whatever measured has ended when this returns, or ends by itself."""
        with self._changed:
            self._closed, self._measure = True, None
            self._asked.clear()
            self._likely.clear()
            self._changed.notify_all()
            thread = self._thread
        self._close()
        if thread is not None:
            thread.join(timeout=CLOSING_S)

    @property
    def _busy(self) -> bool:
        return bool(self._asked or self._likely or self._running)

    def _begin(self) -> None:
        """Start the thread once there is work for it."""
        if self._measure is not None and self._busy and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="latency", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        """Measure what is asked for, then what is likely to be, until it is closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._asked or self._likely)
                measure = self._measure
                if self._closed or measure is None:
                    self._thread = None
                    return
                queue = self._asked or self._likely
                batch = dict(list(queue.items())[:TOGETHER])
                self._running = len(batch)
            try:
                found = dict(zip(batch, measure(list(batch.values())), strict=True))
            except BaseException as error:  # told to whoever asks next, in the thread that can end the search
                with self._changed:
                    self._error = None if self._closed else error
                    self._running, self._thread = 0, None
                    self._changed.notify_all()
                return
            with self._changed:
                for key, latency in found.items():
                    self._known.setdefault(key, latency)
                    self._asked.pop(key, None)
                    self._likely.pop(key, None)
                self._running = 0
                self._changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _key(subject: Subject) -> str:
    """Return what is equal for subjects of equal latency."""
    parts = {
        owner: [part.blueprint.to_dict(), [asdict(one) for one in part.servings]]
        for owner, part in subject.parts.items()
    }
    return json.dumps(parts, sort_keys=True)
