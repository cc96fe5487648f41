"""Stop rules on the command line, of a new run and of one to resume; and objectives that nothing could be ranked by."""

import re
from pathlib import Path

import pytest

from search.arguments import parse
from search.inputs.checks import check_measurable
from search.run import overrides, parser, request_of
from spaces.errors import RunError, SpaceError
from spaces.load import load_space
from tests.unit.search.earlier_run import SPACE

TEACHER = {"mean_recall": 90.0, "vqa_accuracy": 80.0}


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    """Return a small space file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE)
    return path


def test_flags_set_the_rules_of_the_space(space_file: Path) -> None:
    options = parser().parse_args(["--wall-hours", "2", "--device-hours", "0.5"])
    stop = load_space(space_file, overrides(options)[0]).search.stop
    assert (stop.wall_hours, stop.device_hours) == (2.0, 0.5)


def test_a_rule_that_cannot_be_names_its_flag(space_file: Path) -> None:
    options = parser().parse_args(["--device-hours", "0"])
    with pytest.raises(
        SpaceError, match=r"^--device-hours 0.0, search.stop.device_hours: got 0.0; allowed: "
    ):
        load_space(space_file, overrides(options)[0])


@pytest.mark.parametrize(
    "flags",
    [
        ["--wall-hours", "2"],
        ["--device-hours", "2", "--trials", "9"],
        ["--set", "search.stop.plateau.trials=null", "--set", "resources.cpus_per_worker=2"],
        ["search.trials=9"],
        ["--set", " search.trials = 9"],
        ["--set", "search.stop={wall_hours: 1}", "--set", "resources={cpus_per_worker: 2}"],
    ],
)
def test_a_resume_may_change_every_rule(flags: list[str]) -> None:
    request = request_of(parse(parser(), ["--resume", "runs/tiny", *flags], lists=["warm_start"]))
    assert (request.resume, bool(request.changes)) == (Path("runs/tiny"), True)


@pytest.mark.parametrize(
    "text", ["search.seed=3", "search={trials: 9}", "search.trialsome=9", "teacher.choice=[a]", "teachers=x"]
)
def test_a_resume_that_may_not_change_something_names_the_rules_among_what_it_may(text: str) -> None:
    options = parser().parse_args(["--resume", "runs/tiny", "--set", text])
    with pytest.raises(
        RunError, match=rf"got --set {re.escape(text)}; .*--wall-hours, --device-hours, .*search.stop"
    ):
        request_of(options)


def test_objectives_that_the_teacher_has_are_measurable(space_file: Path) -> None:
    check_measurable(load_space(space_file, ["objectives.vqa_accuracy=max"]), TEACHER)


def test_an_objective_that_the_teacher_lacks_on_this_data_is_refused_with_its_line(space_file: Path) -> None:
    changes = ["objectives.caption_token_accuracy=max", "objectives.retention_above_blind=max"]
    with pytest.raises(SpaceError) as caught:
        check_measurable(load_space(space_file, changes), TEACHER)
    lacking, late = caught.value.problems
    assert lacking.startswith(
        "--set objectives.caption_token_accuracy=max, objectives.caption_token_accuracy: got "
        "caption_token_accuracy, which this teacher does not have on this data; allowed: retention, accuracy, mean_recall, "
    )
    assert "known only when the blind student is through" in late
