"""What a run was begun with is what goes on: the space as it was, and code and packages that are told where they are others."""

import json
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from search.run_folder import provenance
from search.run_folder.facts import (
    RunFacts,
    control_session,
    read_facts,
    read_space,
    space_facts,
    write_facts,
)
from search.run_folder.provenance import code_changes, fixed_part, git_commit, session_now, space_digest
from spaces.errors import RunError
from tests.unit.search.earlier_run import prepare, write_run
from trainables.code_version import SEARCHING, code_digest, package_digest


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder without candidates."""
    inputs = prepare(tmp_path)
    return write_run(tmp_path / "run", inputs, [], **space_facts(inputs.space))


def edit(run: Path, old: str, new: str) -> None:
    file = run / "space.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("epochs: 3", "epochs: 2", "training.epochs: was 3, is 2. allowed"),
        ("choice: [1, 2, 3]", "choice: [1, 2]", "student.image.depth.choice: was [1, 2, 3], is [1, 2]. allowed"),
        ("retention: max", "mean_recall: max", "objectives.retention: was 'max', is nothing; objectives.mean_recall: was"),
        ("train_images: 48", "train_images: 64", "dataset.train_images: was 48, is 64"),
        ("kind: random", "kind: evolution", "search.searcher.kind: was 'random', is 'evolution'"),
    ],
)  # fmt: skip
def test_a_space_that_was_edited_after_the_run_began_is_refused(
    old: str, new: str, told: str, run: Path
) -> None:
    edit(run, old, new)
    with pytest.raises(RunError) as error:
        read_space(run, ["search.trials=9"])
    message = str(error.value)
    assert message.startswith(f"{run / 'space.yaml'}: was changed after the run had begun: ")
    assert told in message
    assert f"search anew with the changed one: python search/run.py --space {run / 'space.yaml'}" in message


def test_what_a_resume_may_change_may_be_edited_too(run: Path) -> None:
    edit(run, "trials: 6", "trials: 7")
    edit(run, "teacher: embedded", "teacher: 'embedded'  # the same")
    assert read_space(run, ["search.stop.wall_hours=2"]).search.trials == 7


def test_a_run_of_an_earlier_version_that_kept_no_space_goes_on(run: Path) -> None:
    facts = read_facts(run)
    del facts["space"]
    write_facts(run, facts)
    edit(run, "epochs: 3", "epochs: 2")
    assert read_space(run, []).training.epochs == 2


def test_places_and_limits_of_the_search_are_no_part_of_the_digest() -> None:
    space: dict[str, Any] = {
        "teacher": "/one",
        "dataset": {"kind": "jsonl", "file": "/one", "root": "/three", "image_root": "/two", "seed": 3},
        "search": {"trials": 3, "stop": {"wall_hours": 1}, "seed": 0},
        "resources": {"workers_per_trial": 1},
        "losses": {},
    }
    assert fixed_part(space) == {"dataset.kind": "jsonl", "dataset.seed": 3, "search.seed": 0, "losses": {}}
    assert space_digest({"a": 1, "b": 2}) == space_digest({"b": 2, "a": 1}) != space_digest({"a": 1, "b": 3})


def session(**changes: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(("started", "host", "command"), "x"),
        "code": "aaaa",
        "git_commit": "1111",
        "versions": {"student-search": "0.1.0", "torch": "2.12.0"},
        **changes,
    }


def test_other_code_is_told_with_both() -> None:
    (line,) = code_changes({"sessions": [session(), session()]}, session(code="bbbb", git_commit="2222+"))
    assert line.startswith(
        "WARNING: the code is not that of the last session: it was student-search 0.1.0, commit 1111, digest aaaa"
    )
    assert "it is student-search 0.1.0, commit 2222+, digest bbbb" in line


def test_other_packages_are_told_with_both() -> None:
    now = session(versions={"student-search": "0.1.0", "torch": "2.13.0", "toy": "1"})
    (line,) = code_changes({"sessions": [session()]}, now)
    assert "torch 2.12.0 -> 2.13.0, toy none -> 1; run.json keeps both" in line


def test_other_code_of_a_plug_in_of_the_same_version_is_told() -> None:
    before, now = (
        session(plugins={"toy": "aaaa", "gone": "cccc"}),
        session(plugins={"toy": "bbbb", "new": "dddd"}),
    )
    (line,) = code_changes({"sessions": [before]}, now)
    assert line.startswith(
        "WARNING: the code of plug-ins is not that of the last session: toy aaaa -> bbbb. What"
    )
    assert code_changes({"sessions": [session()]}, now) == []  # an earlier version did not keep it


def test_the_code_of_installed_plug_ins_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "toy_q7-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-q7\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[student_search.losses]\ntoy = toy_q7.losses:Toy\n")
    (tmp_path / "toy_q7").mkdir()
    (tmp_path / "toy_q7" / "losses.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = session_now()["plugins"]["toy_q7"]
    assert session_now()["plugins"]["toy_q7"] == first
    (tmp_path / "toy_q7" / "losses.py").write_text("a = 2\n")
    package_digest.cache_clear()
    assert session_now()["plugins"]["toy_q7"] != first


@pytest.mark.parametrize("facts", [{}, {"sessions": []}, {"sessions": [session()]}])
def test_where_nothing_differs_nothing_is_told(facts: dict[str, Any]) -> None:
    assert code_changes(facts, session()) == []


def test_each_session_keeps_when_how_and_by_what_it_went(tmp_path: Path) -> None:
    facts = RunFacts(tmp_path, {"objectives": {}})
    for by in ("interrupted", "trials"):
        facts.note(ended=None, ended_by=None, sessions=[*facts.known.get("sessions", []), session_now()])
        assert read_facts(tmp_path)["sessions"][-1]["ended_by"] is None
        facts.note(ended="later", ended_by=by)
    first, second = json.loads((tmp_path / "run.json").read_text())["sessions"]
    assert (first["ended_by"], second["ended_by"], second["ended"]) == ("interrupted", "trials", "later")
    assert first["code"] == code_digest(SEARCHING)
    assert first["host"]
    assert first["command"].startswith("python ")
    assert {"python", "student-search", "torch"} <= first["versions"].keys()


@pytest.mark.parametrize(
    ("error", "by"), [(None, "trainings"), (KeyboardInterrupt(), "interrupted"), (RunError("no"), "failed")]
)
def test_a_control_is_a_session_and_leaves_the_end_of_the_search_alone(
    error: BaseException | None, by: str, tmp_path: Path
) -> None:
    facts = RunFacts(tmp_path, {"objectives": {}, "sessions": [session()]})
    facts.note(ended="then", ended_by="trials")
    before = read_facts(tmp_path)
    with (
        nullcontext() if error is None else pytest.raises(type(error)),
        control_session(tmp_path, {**session(code="cccc"), "command": "python search/control.py"}),
    ):
        assert read_facts(tmp_path)["sessions"][1]["command"] == "python search/control.py"
        assert read_facts(tmp_path)["sessions"][1].get("ended_by") is None
        if error is not None:
            raise error
    after = read_facts(tmp_path)
    first, second = after.pop("sessions")
    assert [first] == before.pop("sessions")
    assert after == before
    assert (second["code"], second["ended_by"]) == ("cccc", by)
    assert second["ended"]


def repository(folder: Path) -> Path:
    """Make a git repository of one commit, which ignores `.venv`."""
    folder.mkdir()
    (folder / ".gitignore").write_text(".venv\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init"], ["add", "."], [*who, "commit", "--no-verify", "--no-gpg-sign", "-m", "one"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return folder


def test_the_commit_is_that_of_this_code_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("git") is None:
        assert git_commit() == ""
        return
    theirs = repository(tmp_path / "theirs")
    installed = theirs / ".venv" / "provenance.py"
    installed.parent.mkdir()
    shutil.copy(provenance.__file__, installed)
    ours = repository(tmp_path / "ours")
    checked_out = ours / ".gitignore"
    before = git_commit()
    monkeypatch.setattr(provenance, "__file__", str(checked_out))
    commit = git_commit()
    assert len(commit) >= 7
    monkeypatch.setenv("GIT_DIR", str(theirs / ".git"))
    assert git_commit() == commit
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert git_commit() == ""
    monkeypatch.delenv("GIT_DIR")
    assert git_commit() == ""
    monkeypatch.undo()
    assert git_commit() == before
