"""The grid of teachers and methods: hand-worked means over seeds, dead and failed cells, the report's figures as a reference."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis.grid import grid_page, grid_text, main
from analysis.run_folder import read_run
from analysis.seeds.cells import Cell, Place, Value, cells, published, published_for
from analysis.table import history_schema, write_trials

Row = dict[str, Any]
Make = Callable[..., Path]


def row(name: str, teacher: str, kind: str, **more: Any) -> Row:
    """One trained candidate; `at` holds its metric by epoch."""
    config = {
        "student": {"kind": kind, "embedding": more.pop("embedding", 256)},
        "losses": {"image_logit": {"weight": 1.0}, "itc": {"weight": 0}},
        "teacher": teacher,
    }
    base = {
        "candidate_id": name,
        "status": "finished",
        "role": "search",
        "epochs": 10,
        "seed": 0,
        "proposal": 0,
    }
    return base | {"size_mib": 2.0, "config": json.dumps(config)} | more


SEEDS = [
    [
        row("aaaaaaaa", "embedded-dino", "simple_projection", at={5: 60.0, 10: 70.0}),
        row(
            "bbbbbbbb",
            "embedded-dino",
            "multihead_attention",
            at={5: 20.04, 10: 20.04},
            reason="metric top1 was 20.04",
        ),
        row("cccccccc", "embedded-dino", "resnet", status="oom", epochs=0, at={}),
        row("dddddddd", "embedded-clip", "resnet", at={5: 30.0, 10: 50.0}, size_mib=43.0),
    ],
    [
        row("eeeeeeee", "embedded-dino", "simple_projection", at={5: 64.0, 10: 76.0}),
        row("ffffffff", "embedded-dino", "simple_projection", at={5: 10.0, 10: 11.0}, embedding=8),
        row("abcdabcd", "embedded-clip", "resnet", at={5: 34.0}, status="diverged", epochs=5, size_mib=43.0),
    ],
]


@pytest.fixture
def folders(make_run: Make) -> list[Path]:
    """Two runs of one data set, which differ in their seed."""
    return [write(make_run, f"seed-{number}", rows) for number, rows in enumerate(SEEDS)]


def write(make_run: Make, name: str, rows: list[Row], **facts: Any) -> Path:
    folder = make_run([], folder=name, with_control=False, objectives={"top1": "max"}, **facts)
    table = [{key: value for key, value in one.items() if key != "at"} for one in rows]
    write_trials(folder / "trials.arrow", table, ["top1"])
    schema = history_schema(["top1"], [])
    path = folder / "history" / "part-0000.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for one in rows:
            for epoch, value in one["at"].items():
                line = {"candidate_id": one["candidate_id"], "epoch": epoch, "top1": value}
                writer.write_batch(pa.RecordBatch.from_pylist([line], schema=schema))
    return folder


def grid_of(folders: list[Path]) -> dict[Place, Cell]:
    return cells([read_run(folder) for folder in folders], "top1", [5, 10])


def test_seeds_of_one_setting_make_a_mean_and_a_spread_and_the_best_setting_is_shown(
    folders: list[Path],
) -> None:
    grid = grid_of(folders)
    simple = grid[Place(losses="image_logit", teacher="embedded-dino", method="simple_projection")]
    assert simple.at[5] == Value(mean=62.0, spread=pytest.approx(math.sqrt(8.0)), seeds=2)  # of 60 and 64
    assert simple.at[10] == Value(mean=73.0, spread=pytest.approx(math.sqrt(18.0)), seeds=2)  # of 70 and 76
    assert (simple.settings, simple.ends) == (2, {})  # the one of embedding 8 is worse
    assert {place.losses for place in grid} == {"image_logit"}  # a loss of weight 0 is none
    least = cells([read_run(folder) for folder in folders], "top1", [5, 10], maximise=False)
    assert (
        least[Place(losses="image_logit", teacher="embedded-dino", method="simple_projection")].at[10].mean
        == 11.0
    )


def test_cells_that_died_or_failed_are_named_by_their_status(folders: list[Path]) -> None:
    grid = grid_of(folders)
    dead = grid[Place(losses="image_logit", teacher="embedded-dino", method="multihead_attention")]
    assert (dead.ends, dead.last.mean) == ({"flat": 1}, 20.04)
    failed = grid[Place(losses="image_logit", teacher="embedded-dino", method="resnet")]
    assert failed.ends == {"oom": 1}
    assert math.isnan(failed.last.mean)
    half = grid[Place(losses="image_logit", teacher="embedded-clip", method="resnet")]
    assert half.ends == {"diverged": 1}
    assert (half.at[5].mean, half.at[10].mean, half.at[10].seeds) == (32.0, 50.0, 1)


def test_the_reference_is_that_of_the_report_and_says_so(folders: list[Path]) -> None:
    place = Place(losses="x", teacher="org/CLIP-vit", method="cbam")
    assert [published_for(place, epoch).accuracy for epoch in (5, 10)] == [72.42, 72.34]
    assert published_for(place, 7) is None
    assert math.isnan(published()["dino", "resnet", 5].accuracy)  # out of memory there
    text = grid_text(grid_of(folders), "top1", [5, 10])
    assert "62.0 ± 2.8 / 73.0 ± 4.2 (best of 2 settings; report 100.0 / 100.0)" in text
    assert "20.0 / 20.0 (1 flat; report 20.0 / 20.0)" in text
    assert "– / – (1 oom; report – / –)" in text
    assert "a reference and no comparison" in text


def test_methods_stand_across_in_the_report_s_order_and_teachers_down(folders: list[Path]) -> None:
    lines = grid_text(grid_of(folders), "top1", [5, 10]).splitlines()
    head = next(line for line in lines if line.startswith("teacher"))
    assert head.split() == ["teacher", "simple_projection", "multihead_attention", "resnet"]
    firsts = [line.split()[0] for line in lines if line.startswith("embedded-")]
    assert firsts == ["embedded-clip", "embedded-dino"] * 2
    assert "43.00 MiB" in next(line for line in lines if "MiB peak" in line)


def test_the_page_holds_every_cell_and_needs_no_network(folders: list[Path]) -> None:
    page = grid_page(grid_of(folders), "top1", [5, 10], folders)
    assert "62.0 ± 2.8 / 73.0 ± 4.2" in page
    assert "Losses: image_logit" in page
    assert "<script src=" not in page


def test_the_command_prints_and_draws(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder) for folder in folders]) == 0
    told = capsys.readouterr().out
    assert "top1 (%) after 5 / 10 epochs" in told
    assert told.rstrip().endswith(f"grid: {folders[0] / 'grid.html'}")
    assert (folders[0] / "grid.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--metric", "top2"], "--metric: got 'top2'; allowed: top1. Did you mean 'top1'?"),
        (["--epochs", "5,7"], "--epochs: got 7; allowed: 5, 10, where top1 was measured."),
    ],
)
def test_what_was_not_measured_is_told(
    folders: list[Path], flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folders[0]), *flags]) == 2
    assert said in capsys.readouterr().err


def test_runs_of_other_data_are_refused(
    folders: list[Path], make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(make_run, "other", SEEDS[0], dataset={"kind": "objects", "fingerprint": "ff"})
    assert main([str(folders[0]), str(other)]) == 2
    assert "RUN: got runs of 2 data sets" in capsys.readouterr().err
