"""`--warm-start` and `search.start`: one search that learns from a finished one, and what is refused."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import runs
from tests.e2e.runs import Refused

TRIALS = 4
START = "[{student: {image: {width: 0.5x, depth: 2}}}, {}]"  # nested; the second is the default again


@dataclass(frozen=True, kw_only=True)
class Warm:
    """A warm-started search: where it lies, what it said, its rows, and whether the earlier run was left alone."""

    folder: Path
    text: str
    rows: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    earlier_untouched: bool


def state(folder: Path) -> dict[Path, int]:
    """Return when each file and folder was changed last."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def warm(finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> Warm:
    """Search once more, from the results of the finished search, with TPE and another seed."""
    place = tmp_path_factory.mktemp("warm")
    earlier = ("--warm-start", str(finished.folder), "--seed", "1", "--trials", str(TRIALS))
    ours = ("--set", "search.searcher={kind: hyperopt}", "--set", f"search.start={START}")
    before = state(finished.folder)
    code, text = runs.run((*finished.arguments, *earlier, *ours), folder=place, env=finished.env)
    assert code == 0, text
    folder = place / "runs" / "tiny"
    return Warm(
        folder=folder,
        text=text,
        rows=runs.trial_rows(folder),
        facts=json.loads((folder / "run.json").read_text()),
        earlier_untouched=state(finished.folder) == before,
    )


def test_default_and_start_points_come_before_the_front_and_no_training_twice(
    warm: Warm, finished: runs.Finished
) -> None:
    queued = [row for row in warm.rows.values() if row["role"] == "search" and row["proposal"] == -1]
    image = [json.loads(row["config"])["student"]["image"] for row in queued]
    assert (image[0]["width"], image[0]["depth"]) == (32, 1)
    assert (image[1]["width"], image[1]["depth"]) == (64, 2)
    configs = [row["config"] for row in queued]
    assert len(set(configs)) == len(configs)
    fronts = {
        row["config"]
        for row in runs.trial_rows(finished.folder).values()
        if any(row[f"on_front_{cost}"] for cost in ("params", "flops", "latency_ms"))
    }
    assert len(fronts & set(configs)) >= min(len(fronts), TRIALS // 2)


def test_the_earlier_candidates_are_trained_anew_under_ids_of_this_seed(
    warm: Warm, finished: runs.Finished
) -> None:
    searched = [row for row in warm.rows.values() if row["role"] == "search"]
    assert len(searched) == TRIALS  # nothing of the earlier run is a row here
    assert not warm.rows.keys() & runs.trial_rows(finished.folder).keys()
    for name, row in warm.rows.items():
        assert row["seed"] == 1
        assert row["epochs"] >= 1
        assert (warm.folder / "checkpoints" / name / "candidate.json").is_file()


def test_run_json_and_report_tell_where_it_began(warm: Warm, finished: runs.Finished) -> None:
    earlier = [row for row in runs.trial_rows(finished.folder).values() if row["role"] == "search"]
    (source,) = warm.facts["warm_start"]
    assert (source["run"], source["imported"]) == ("tiny", len(earlier))
    assert source["finished"] == sum(row["status"] == "finished" for row in earlier)
    assert source["started"] == json.loads((finished.folder / "run.json").read_text())["started"]
    assert f"learns from {len(earlier)} trained candidates" in warm.text
    assert f"{len(earlier)} trained candidates to learn from" in (warm.folder / "report.html").read_text()


def test_the_earlier_run_is_left_as_it_was(warm: Warm) -> None:
    assert warm.earlier_untouched


def test_a_resume_does_not_go_on_without_what_was_taken_over(
    warm: Warm, tmp_path: Path, refused: Refused
) -> None:
    copy = Path(shutil.copytree(warm.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("ray")))
    (copy / "warm_start.jsonl").unlink()
    assert "warm_start.jsonl: missing, although the run was started from the results of tiny" in refused(
        "--resume", str(copy), "--trials", "6"
    )


def test_a_run_of_another_space_is_refused_with_every_difference(
    finished: runs.Finished, tmp_path: Path, refused: Refused
) -> None:
    space = runs.write_space(tmp_path)
    changed = ("--set", "training.lr=2e-3", "--set", "dataset.train_images=80", "--seed", "3")
    told = refused("--space", str(space), *runs.SMOKE, *changed, "--warm-start", str(finished.folder))
    assert f"--warm-start {finished.folder}: measured something else:" in told
    assert "\n  training.lr: 0.002 in this run, 0.001 in that one\n" in told
    assert "\n  dataset fingerprint: " in told
    assert "seed" not in told


def test_a_warm_start_of_a_resumed_run_is_refused_with_the_reason(
    finished: runs.Finished, refused: Refused
) -> None:
    told = refused("--resume", str(finished.folder), "--warm-start", str(finished.folder))
    assert "got --warm-start; allowed: only when a run begins" in told


def test_a_warm_start_from_no_run_is_refused(tmp_path: Path, refused: Refused) -> None:
    space = runs.write_space(tmp_path)
    assert "nowhere: no such folder" in refused("--space", str(space), "--warm-start", "nowhere")


def test_a_start_point_outside_its_domain_is_refused_before_anything_is_made(
    tmp_path: Path, refused: Refused
) -> None:
    text = runs.SPACE.replace("  trials: 3\n", "  trials: 3\n  start:\n    - {student.image.width: 0.75x}\n")
    space = runs.write_space(tmp_path, text)
    line = text.splitlines().index("    - {student.image.width: 0.75x}") + 1
    assert (
        f"{space}:{line}, search.start.student.image.width: start point 1: got '0.75x'; allowed"
        in refused("--space", str(space))
    )
