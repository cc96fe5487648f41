"""What a call of `search()` asks for: the same as the flags of the command. Nothing is searched here."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune import Callback

import search.start
from search.api import Run
from search.api import search as call
from search.start import Request
from spaces.errors import RunError
from spaces.load import Override


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, dict[str, Any]]]:
    """Return what each session was asked for; none is begun."""
    found: list[tuple[Request, dict[str, Any]]] = []

    def session(request: Request, inputs: Any, earlier: Any, **more: Any) -> Any:
        found.append((request, more))
        more["say"]("hello")
        return SimpleNamespace(folder=Path("runs/tiny"))

    monkeypatch.setattr(search.start, "load", lambda request, say: (None, None))
    monkeypatch.setattr(search.start, "run_session", session)
    for context in ("resumed_alone", "stored"):
        monkeypatch.setattr(search.start, context, lambda request, say: nullcontext())
    return found


Asked = list[tuple[Request, dict[str, Any]]]


def test_a_plain_call_searches_the_default_space(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == Run(Path("runs/tiny"))
    ((request, more),) = asked
    assert request == Request(
        space=Path("spaces/dlip.yaml"), command="search.api.search(space='spaces/dlip.yaml')"
    )
    assert (more["callbacks"], more["stream"]) == ((), sys.stderr)
    assert capsys.readouterr().err == "hello\n"


@pytest.mark.parametrize("overrides", [{"search.trials": 24}, ["training.lr=1e-3", "search.trials = 24"]])
def test_trials_that_are_set_twice_are_refused(asked: Asked, overrides: Any) -> None:
    with pytest.raises(
        RunError, match=r"search: trials: got 8, and search.trials.*24, too; allowed: one of them"
    ):
        call(trials=8, overrides=overrides)
    assert asked == []


def test_the_call_is_what_the_run_will_tell(asked: Asked) -> None:
    call("a.yaml", trials=8, overrides={"training.epochs": 2}, out="there")
    ((request, _),) = asked
    assert (
        request.command
        == "search.api.search(space='a.yaml', trials=8, overrides={'training.epochs': 2}, out='there')"
    )


def test_a_quiet_call_prints_nothing(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    call(quiet=True)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


def test_overrides_are_a_mapping_or_texts(asked: Asked) -> None:
    call("a.yaml", overrides={"losses.itc.weight": 0.5, "training.lr": {"log": [1e-4, 1e-3]}})
    call("a.yaml", overrides=["losses.itc.weight=0.5"], trials=8)
    mapping, texts = (request.changes for request, _ in asked)
    assert mapping == (
        Override("overrides['losses.itc.weight']", "losses.itc.weight", 0.5),
        Override("overrides['training.lr']", "training.lr", {"log": [1e-4, 1e-3]}),
    )
    assert texts == ("losses.itc.weight=0.5", Override("trials=8", "search.trials", 8))


def test_options_are_those_of_the_command(asked: Asked) -> None:
    call("a.yaml", out="here", warm_start=["runs/a", Path("runs/b")], always_train=True)
    call("a.yaml", warm_start="runs/a", storage="there")
    call(resume="runs/a", trials=9, overrides={"search.stop.wall_hours": 1})
    first, second, third = (request for request, _ in asked)
    assert first == Request(
        space=Path("a.yaml"),
        out=Path("here"),
        warm_start=(Path("runs/a"), Path("runs/b")),
        always_train=True,
        command=first.command,
    )
    assert "warm_start=['runs/a', PosixPath('runs/b')]" in first.command
    assert second.warm_start == (Path("runs/a"),)
    assert second.storage == Path("there")
    assert third.resume == Path("runs/a")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"overrides": {"training.lr": 1}}, "--set training.lr=1"),
        ({"overrides": ["training.lr=1"]}, "--set training.lr=1"),
        ({"out": "there"}, "out"),
        ({"space": "other.yaml"}, "space"),
        ({"warm_start": ["runs/b"]}, "--warm-start"),
    ],
)
def test_a_resumed_run_takes_no_other_changes_than_the_command_allows(
    options: dict[str, Any], said: str, asked: Asked
) -> None:
    with pytest.raises(RunError, match=f"--resume runs/a: got {said}"):
        call(resume="runs/a", **options)
    assert not asked


@pytest.mark.parametrize("name", ["dry_run", "seeds", "changes"])
def test_an_unknown_option_is_refused(name: str, asked: Asked) -> None:
    with pytest.raises(
        TypeError,
        match=f"got {name}; allowed options: address, always_train, node_copies, out, resume, retry_failed, storage, warm_start",
    ):
        call("a.yaml", **{name: True})
    assert not asked


class Heard(Callback):
    """A callback of a user's."""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"callbacks": Heard()}, "callbacks: got <"),
        ({"callbacks": Heard}, "callbacks: got the class Heard"),
        ({"callbacks": [Heard]}, "callbacks: got the class Heard; allowed: a list of ray.tune.Callback instances"),
        ({"callbacks": [Heard(), print]}, "callbacks: got <built-in function print>"),
        ({"callbacks": None}, "callbacks: got None"),
        ({"space": 3}, r"search: space: got 3 \(int\); allowed: the path of a space file"),
        ({"overrides": 3}, r"search: overrides: got 3 \(int\); allowed: a mapping"),
        ({"overrides": [3]}, r"search: overrides: got \[3\] \(list\)"),
        ({"overrides": {3: 3}}, "search: overrides: got {3: 3}"),
        ({"out": 3}, r"search: out: got 3 \(int\); allowed: the path of a run folder"),
        ({"resume": 3}, "search: resume: got 3"),
        ({"storage": 3}, "search: storage: got 3"),
        ({"storage": ""}, r"search: storage: got '' \(str\); allowed: the path of a folder"),
        ({"out": " "}, r"search: out: got ' ' \(str\); allowed: the path of a run folder"),
        ({"warm_start": ["one", ""]}, r"search: warm_start: got \['one', ''\]"),
        ({"warm_start": 3}, "search: warm_start: got 3"),
        ({"warm_start": [3]}, r"search: warm_start: got \[3\]"),
        ({"address": 6379}, "search: address: got 6379"),
        ({"always_train": "always"}, "search: always_train: got 'always' .str.; allowed: True or False"),
    ],
)  # fmt: skip
def test_an_argument_of_another_type_is_refused_at_once(
    arguments: dict[str, Any], said: str, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.start, "load", lambda request, say: pytest.fail("something was loaded"))
    with pytest.raises(TypeError, match=said):
        call(**arguments)
    assert not asked


def test_callbacks_of_ray_tune_and_a_single_text_are_taken(asked: Asked) -> None:
    heard = Heard()
    call("a.yaml", callbacks=[heard], overrides="search.trials=3")
    ((request, more),) = asked
    assert more["callbacks"] == [heard]
    assert request.changes == ("search.trials=3",)


@pytest.mark.parametrize("second", ["out", "resume"])
def test_two_threads_do_not_search_in_one_folder(
    second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, over, folder = threading.Event(), threading.Event(), tmp_path / "run"

    class Waiting:
        def __init__(self, inputs: Any, place: Path, options: Any, *, say: Any) -> None:
            self.place = place

        def run(self) -> Any:
            inside.set()
            assert over.wait(60.0)
            return SimpleNamespace(folder=self.place)

    space = SimpleNamespace(name="tiny", resources=SimpleNamespace(gpus=0))
    tiny = SimpleNamespace(space=space)
    monkeypatch.setattr(search.start, "load", lambda request, say: (tiny, None))
    monkeypatch.setattr("search.reporting.plan.describe", lambda inputs, measure: [])
    monkeypatch.setattr("search.latency.opening.measuring", lambda inputs, resumed: nullcontext())
    monkeypatch.setattr("search.session.Session", Waiting)
    monkeypatch.setattr("search.run_folder.resume.check_resumable", lambda place: None)
    monkeypatch.setattr("search.run_folder.resume.check_changes", lambda place, **given: None)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(call, out=folder, quiet=True)
        try:
            assert inside.wait(60.0)
            later = pool.submit(call, **{second: folder}, quiet=True)
            with pytest.raises(
                RunError, match=r"run folder .*run: this process works in it already; allowed: one at a time"
            ):
                later.result(60.0)
        finally:
            over.set()
        assert first.result(60.0) == Run(folder)
