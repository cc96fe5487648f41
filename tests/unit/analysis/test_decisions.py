"""The record of early stopping is read whole, balanced per rung, and shown."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import wording
from analysis.page.decisions import decisions_section
from analysis.page.headline import ENDINGS, ending, header, resume_command
from analysis.run_folder import read_run
from analysis.rungs import Rungs
from analysis.summary import RungBalance, rung_balances, summarise
from spaces.errors import RunError

Make = Callable[..., Path]


def decision(name: str, rung: int, verdict: str = "continue", **more: Any) -> dict[str, Any]:
    base = {"candidate_id": name, "epoch": rung, "rung": rung, "rank": 0, "size": 1, "verdict": verdict}
    return base | {"reason": f"why {name} at {rung}"} | more


def write_rungs(folder: Path, decisions: list[dict[str, Any]], **more: Any) -> None:
    entries: dict[str, dict[str, Any]] = {}
    for one in decisions:
        entries.setdefault(str(one["rung"]), {})[one["candidate_id"]] = {"retention": 1.0}
    content = {"version": 2, "scheduler": "moasha", "brackets": 1, "rungs": entries, "decisions": decisions}
    (folder / "rungs.json").write_text(json.dumps(content | more))


def shown(folder: Path) -> str:
    run = read_run(folder)
    text = re.sub(r"<[^>]+>", " ", decisions_section(run, summarise(run)))
    return re.sub(r"\s+", " ", html.unescape(text))


def row(name: str, status: str, epochs: int) -> dict[str, Any]:
    config = '{"training": {"epochs": 9}}'
    return {
        "candidate_id": name,
        "status": status,
        "epochs": epochs,
        "role": "search",
        "config": config,
        "proposal": int(name, 16),
    }


def test_each_rung_has_its_balance(make_run: Make) -> None:
    # 23 came to epoch 1, where 8 stopped and left 8 of 9 epochs each; 15 to epoch 3, where 4 left 6 each
    run = read_run(make_run())
    assert rung_balances(run) == [
        RungBalance(rung=1, came=23, stopped=8, epochs_saved=64),
        RungBalance(rung=3, came=15, stopped=4, epochs_saved=24),
    ]
    assert summarise(run).epochs_saved == 64 + 24


def test_a_stop_that_was_not_carried_out_yet_saves_nothing(make_run: Make) -> None:
    folder = make_run([row("a", "running", 1), row("b", "stopped", 1)], with_control=False)
    write_rungs(folder, [decision("a", 1, "stop"), decision("b", 1, "stop")])
    (balance,) = rung_balances(read_run(folder))
    assert (balance.came, balance.stopped, balance.epochs_saved) == (2, 2, 8)


def test_the_report_shows_balance_and_decisions(make_run: Make) -> None:
    text = shown(make_run())
    assert "epoch 1 23 15 8 35 % 64 epoch 3 15 11 4 27 % 24" in text
    assert "Of 23 candidates judged, 12 were stopped. They left out 88 of" in text
    assert "by all objectives at once (retention, parameters, FLOPs, latency)" in text
    assert "All 38 decisions of the scheduler (moasha), in their order" in text
    first = read_run(make_run(folder="other")).rungs.decisions[0].candidate_id
    assert f"{first} epoch 1 1 1 go on place 1 of 1 at epoch 1, the best 1 go on" in text


def test_decisions_keep_their_order_and_only_the_first_200_are_drawn(make_run: Make) -> None:
    folder = make_run(with_control=False)
    write_rungs(folder, [decision(f"{number:04x}", 1, size=number + 1) for number in range(1000, 0, -1)])
    text = shown(folder)
    assert "The first 200 of 1000 decisions" in text
    ids = re.findall(r"why (\w+) at 1", text)
    assert ids == [f"{number:04x}" for number in range(1000, 800, -1)]


def test_a_record_of_the_first_version_is_read(make_run: Make) -> None:
    folder = make_run()
    old = {
        "scheduler": "asha",
        "rungs": {"1": {"a": {}, "b": {}, "c": {}}},
        "decisions": [decision("a", 1), {**decision("b", 1, "stop"), "rank": None}],
    }
    (folder / "rungs.json").write_text(json.dumps(old))
    rungs = read_run(folder).rungs
    assert (rungs.scheduler, rungs.num_unjudged) == ("asha", 1)
    assert [(one.stopped, one.rank) for one in rungs.decisions] == [(False, 0), (True, None)]
    text = shown(folder)
    assert "by retention alone" in text
    assert "Entered from the history without a verdict, after rungs.json was lost: 1." in text


def test_a_run_that_has_judged_nobody_says_so(make_run: Make) -> None:
    folder = make_run(with_control=False)
    write_rungs(folder, [])
    assert "The scheduler (moasha) has judged no candidate yet." in shown(folder)
    (folder / "rungs.json").unlink()
    assert read_run(folder).rungs == Rungs()
    assert "No candidate has come to a rung yet" in shown(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"version": 3}, r"rungs.json: got version 3; this program reads up to 2"),
        ({"version": "new"}, "got version new"),
        ({"version": 2, "brackets": 3}, "got 3 brackets; this program reads one"),
        ({"scheduler": "moasha", "rungs": {}}, "rungs.json: damaged, .*KeyError"),
        ({"scheduler": "moasha", "rungs": [], "decisions": []}, "rungs.json: damaged"),
        ({"scheduler": "moasha", "rungs": {}, "decisions": [{"candidate_id": "a"}]}, "rungs.json: damaged"),
        (
            {"scheduler": "moasha", "rungs": {}, "decisions": [decision("a", 1, size="x")]},
            "rungs.json: damaged",
        ),
    ],
)
def test_a_record_of_another_form_is_told(make_run: Make, content: dict[str, Any], message: str) -> None:
    folder = make_run()
    (folder / "rungs.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=message):
        read_run(folder)


def test_a_conclusion_that_was_cut_off_is_told(make_run: Make) -> None:
    run = read_run(make_run(ended_by="trials", ended_reason="7 of 7", conclusion_cut="Ctrl-C cut it off"))
    assert ending(run).endswith(" (7 of 7). Ctrl-C cut it off: some test figures are missing.")


@pytest.mark.parametrize("ended_by", ENDINGS)
def test_the_report_says_which_rule_ended_the_run_and_why(make_run: Make, ended_by: str) -> None:
    run = read_run(make_run(ended_by=ended_by, ended_reason="7 of 7 were so."))
    assert ending(run) == f"Started 2031-05-04 10:00:00; it {ENDINGS[ended_by]} (7 of 7 were so)."


def test_a_rule_that_the_report_does_not_know_is_named(make_run: Make) -> None:
    run = read_run(make_run(ended_by="full_moon"))
    assert ending(run) == "Started 2031-05-04 10:00:00; it ended by full moon."


def test_all_teachers_are_named_the_reference_first(make_run: Make) -> None:
    run = read_run(make_run())
    name = run.facts["teacher"]["name"]
    for teachers, told in (([name], "Teacher: {}."), ([name, "other"], "Teachers: {}, other.")):
        run.facts["teachers"] = {one: {} for one in teachers}
        size = wording.count(run.teacher("params"))
        assert told.format(f"{name} ({size} parameters)") + " Data: " in header(run, summarise(run))


def test_the_way_on_is_the_one_that_the_rule_asks_for(make_run: Make) -> None:
    folder = make_run(ended_by="wall_clock", resume_with="--wall-hours 2")
    assert resume_command(read_run(folder)) == f"python search/run.py --resume {folder} --wall-hours 2"
