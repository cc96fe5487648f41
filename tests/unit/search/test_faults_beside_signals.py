"""A signal does not hide what is wrong with disk or inputs; what it did to Ray is no error."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from search import session
from search.session import Session
from search.stopping.stop_rules import INTERRUPTED
from spaces.errors import InputsChanged, StorageError


class Kept:
    """Stands in for a session whose search ends with an error after a signal."""

    options = SimpleNamespace(address=None)
    recorder = scheduler = weights = SimpleNamespace(close=lambda: None)

    def __init__(self, error: Exception) -> None:
        self.error, self.facts, self.said, self.noted = error, self, list[str](), dict[str, Any]()
        self.say = self.said.append

    def note(self, **facts: Any) -> None:
        self.noted |= facts

    def _search(self, *given: Any, **named: Any) -> None:
        raise self.error


@contextmanager
def nowhere(address: str | None) -> Iterator[list[str]]:
    yield []


def end(kept: Kept) -> Any:
    rules: Any = SimpleNamespace(ending=INTERRUPTED, to_dict=dict)
    searched: Any = kept
    return Session._search_and_keep(searched, SimpleNamespace(), rules, caches={})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "by"), [(StorageError("disk full"), "failed"), (InputsChanged("other data"), "inputs")]
)
def test_a_fault_is_told_though_a_signal_came(
    error: Exception, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.cluster, "joined", nowhere)
    kept = Kept(error)
    with pytest.raises(type(error)):
        end(kept)
    assert (kept.noted["ended_by"], kept.noted["ended_reason"]) == (by, str(error))
    assert kept.said == []


def test_a_ray_that_went_with_the_signal_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.cluster, "joined", nowhere)
    kept = Kept(ConnectionError("gone"))
    assert end(kept) is INTERRUPTED
    assert kept.said == ["Ray ended before its trials did (ConnectionError); what they reported is kept"]
