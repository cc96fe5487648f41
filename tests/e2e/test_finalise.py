"""`python search/finalise.py`: students trained longer beside two controls: in finalised.json, terminal and report."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from analysis.seeds.finals_file import FINALS_FILE, read_finals
from search.finalise import main
from spaces.owner import owned
from tests.e2e import runs
from tests.e2e.test_export import finished_id

EPOCHS = 2
OPTIONS = (
    *("--epochs", str(EPOCHS), "--fine-tune", "0", "--seeds", "1", "--tasks", "retrieval,vqa"),
    *("--set", "tasks.retrieval.rerank=2", "--set", "tasks.vqa.decode=teacher_forced"),
    *("--set", "training.lr=5e-4"),
)


@pytest.fixture(scope="module")
def finalised(finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a copy of the finished run with one student finalised, and what the command said."""
    place = tmp_path_factory.mktemp("finals")
    run = Path(shutil.copytree(finished.folder, place / "run", ignore=shutil.ignore_patterns("ray")))
    picked = (runs.script("search/finalise.py"), str(run), "--pick", finished_id(finished))
    code, text = runs.run(
        (*picked, *OPTIONS, "--export", str(place / "students")), folder=place, env=finished.env
    )
    assert code == 0, text
    return run, text


def rows(run: Path) -> list[dict[str, Any]]:
    """Return the rows of the last request."""
    known = read_finals(run)
    assert known is not None
    found: list[dict[str, Any]] = known["finals"][-1]["rows"]
    return found


def test_teacher_student_and_two_controls_are_measured_alike(
    finished: runs.Finished, finalised: tuple[Path, str]
) -> None:
    found = {row["method"]: row for row in rows(finalised[0])}
    assert set(found) == {"teacher", "student", "plain", "random"}
    assert len({frozenset(row["metrics"]) for row in found.values()}) == 1
    assert {"reranked_mean_recall", "mean_recall", "vqa_accuracy"} <= set(found["teacher"]["metrics"])
    searched = json.loads((finished.folder / "run.json").read_text())["teacher"]["test_metrics"]
    assert found["teacher"]["metrics"]["vqa_accuracy"] == searched["vqa_accuracy"], (
        "the same code on the same split"
    )
    assert found["student"]["epochs"] == EPOCHS, "it began with the weights of the search"
    assert found["plain"]["epochs"] == found["random"]["epochs"] == EPOCHS + runs.EPOCHS


def test_the_tables_stand_on_the_terminal_and_in_the_report(
    finished: runs.Finished, finalised: tuple[Path, str]
) -> None:
    run, text = finalised
    assert "about 0 s left" in text
    for shown in (text, (run / "report.html").read_text()):
        assert f"{finished_id(finished)} (" in shown
        assert "reranked mean recall" in shown
        assert "kept over all tasks" in shown.lower()
        assert "times faster" in shown
    assert "No student was finalised" in (finished.folder / "report.html").read_text()


def test_the_same_command_finds_all_of_it_through(
    finished: runs.Finished, finalised: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finalised[0] / FINALS_FILE).read_bytes()
    asked = (str(finalised[0]), "--pick", finished_id(finished), *OPTIONS, "--dry-run")
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "5 trainings of them through already" in said
    assert "all trainings are through" in said
    assert (finalised[0] / FINALS_FILE).read_bytes() == before


def test_a_finalised_student_is_a_folder_like_any_other(
    finished: runs.Finished, finalised: tuple[Path, str]
) -> None:
    from trainables.export import load

    student = load(finalised[0].parent / "students" / finished_id(finished))
    (own,) = [row for row in rows(finalised[0]) if row["method"] == "student"]
    assert student.measured["finals"] == [{"domain": "", "metrics": own["metrics"], "epochs": EPOCHS}]


def test_its_card_tells_of_the_weights_that_are_in_it_and_of_none_of_the_search(
    finished: runs.Finished, finalised: tuple[Path, str]
) -> None:
    from trainables.export import load

    folder = finalised[0].parent / "students" / finished_id(finished)
    student = load(folder)
    found = {row["method"]: row["metrics"] for row in rows(finalised[0])}
    assert student.measured["metrics"] == {"test": found["student"]}
    assert student.measured["teacher"]["metrics"] == {"test": found["teacher"]}
    assert student.measured["costs"]["params"] == sum(one.numel() for one in student.model.parameters())
    assert student.measured["config"]["training"]["lr"] == 5e-4, "as the finals were told to"
    assert student.measured["config"]["training"]["epochs"] == student.measured["epochs"] == EPOCHS
    card = (folder / "README.md").read_text()
    assert "student-search finalise" in card
    assert f"| test | reranked_mean_recall | {found['student']['reranked_mean_recall']:.2f} |" in card
    assert not (folder / "candidate.json").exists(), "the longer training alone gives another student"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--epochs", "0"), "--epochs: got 0; allowed: 1 to"),
        (("--epochs", "2", "--pick", "front,ffffffff"), "Here `front` stands for its members."),
        (("--epochs", "2", "--pick", "front,"), "--pick: got 'front,'"),
        (
            ("--epochs", "2", "--set", "teacher_cache.kind=lively"),
            "teacher_cache.kind: got 'lively'; allowed: cached, live",
        ),
        (
            ("--epochs", "2", "--set", "evaluation.images=0"),
            "evaluation.images: got 0; allowed: an integer, 1 or more",
        ),
        (("--epochs", "2", "--tasks", "nlvr2"), "--tasks nlvr2: cannot be measured (nlvr2"),
        (("--epochs", "2", "--tasks", "retreival"), "Did you mean 'retrieval'"),
        (("--epochs", "2", "--seeds", "0"), "--seeds: got 0"),
        (("--epochs", "2", "--tasks", ","), "--tasks: got ','; allowed: names of tasks"),
        (
            ("--epochs", "2", "--dry-run", "--export", f"{__file__}/new"),
            "test_finalise.py is no folder; allowed: a new",
        ),
        (("--epochs", "2", "--controls", "none,plain"), "--controls: got none"),
        (("--epochs", "2", "--set", "losses.lm_logits.weight=1"), "Did you mean 'lm_logit'"),
        (
            ("--epochs", "2", "--set", "student.embedding=3"),
            "--set student.embedding=3: finals do not take student.embedding; allowed: losses.NAME",
        ),
        (("--epochs", "2", "--domain", "secenes"), "--domain secenes: "),
        (
            ("--epochs", "2", "--domain", "jsonl:/nowhere/at/all.jsonl"),
            "--domain jsonl:/nowhere/at/all.jsonl: ",
        ),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line_and_nothing_is_written(
    arguments: tuple[str, ...], told: str, finished: runs.Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
    assert main((str(finished.folder), *arguments)) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")} == before


def test_a_run_that_is_none_or_has_no_finished_student_is_told(
    tmp_path: Path, finished: runs.Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main((str(tmp_path / "nowhere"), "--epochs", "2")) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    shutil.copy(finished.folder / "run.json", tmp_path / "run")
    assert main((str(tmp_path / "run"), "--epochs", "2")) == 2
    assert "no candidate was trained to the end" in capsys.readouterr().err


def test_a_run_in_which_somebody_works_is_left_alone(
    finished: runs.Finished, finalised: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = finalised[0]
    before = (run / FINALS_FILE).read_bytes()
    with owned(run, say=print):
        assert main((str(run), "--pick", finished_id(finished), "--epochs", "7")) == 2
    assert "works" in capsys.readouterr().err
    assert (run / FINALS_FILE).read_bytes() == before
