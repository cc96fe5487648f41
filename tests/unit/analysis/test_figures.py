"""Figures are tested by their data; drawing only has to carry it over unchanged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis.figures import curves, front
from analysis.figures.hover import hover_text
from analysis.page.students import members_section
from analysis.run_folder import read_run
from analysis.table import history_schema

Make = Callable[..., Path]
TEACHER = {"name": "t", "params": 1_000_000, "flops": 9, "latency_ms": 5.0, "metrics": {"mean_recall": 91.0}}


def row(name: str, status: str, retention: float, params: int, **more: Any) -> dict[str, Any]:
    base = {"candidate_id": name, "status": status, "role": "search", "epochs": 9, "config": "{}"}
    return base | {"retention": retention, "params": params, "flops": params, "latency_ms": 1.0} | more


ROWS = [
    row("a", "finished", 60.0, 100, mean_recall=50.0),
    row("b", "finished", 55.0, 200, mean_recall=70.0),
    row("c", "stopped", 30.0, 50),
    row("d", "crashed", 31.0, 60),
    row("e", "rejected", float("nan"), 70),
    row("z", "finished", 20.0, 1, role="blind"),
    row("s", "finished", 65.0, 400, role="baseline", config='{"baseline": "stock"}'),
    row("t", "stopped", 10.0, 300, role="baseline"),
]


def test_front_info_holds_marks_and_a_view_for_each_measured_metric(make_run: Make) -> None:
    read = read_run(make_run(ROWS, with_control=False, teacher=TEACHER, blind={"retention": 20.0}))
    trials = tuple(replace(one, reads_teacher=one.candidate_id == "b") for one in read.trials)
    run = replace(read, trials=trials)
    info = front.front_info(run, "params")
    assert (info.finished.ids, info.finished.x) == (("a", "b"), (100.0, 200.0))
    assert info.stopped.ids == ("c",)
    assert info.finished.symbols == ("circle", "square")
    assert (info.baseline.ids, info.baseline.x) == (("s",), (400.0,))
    assert info.baseline.hover[0].startswith("<b>s (stock)</b>, finished at epoch 9")
    assert info.teacher_x == 1_000_000.0
    assert dict(info.views) == {
        "retention": front.View(
            finished=(60.0, 55.0), stopped=(30.0,), front_x=(100.0,), front_y=(60.0,), names=("best",),
            front_symbols=("circle",), teacher=100.0, control=(), control_spread=(), blind=20.0, baseline=(65.0,),
        ),
        "mean_recall": front.View(
            finished=(50.0, 70.0), stopped=(None,), front_x=(100.0, 200.0), front_y=(50.0, 70.0),
            names=("", "best"), front_symbols=("circle", "square"), teacher=91.0, control=(), control_spread=(),
            blind=None, baseline=(None,),
        ),
    }  # fmt: skip


def test_control_marks_are_means_over_seeds_on_the_noisy_set(make_run: Make) -> None:
    run = read_run(make_run())
    info = front.front_info(run, "params")
    assert len(info.control.ids) == 3
    rows = [r for r in (run.control or {})["rows"] if r["candidate_id"] == info.control.ids[0]]
    noisy = [r["retention"] for r in rows if r["data"] == "noisy" and not r["distilled"]]
    assert info.views["retention"].control[0] == pytest.approx(sum(noisy) / 3)


def test_drawn_front_carries_the_info(make_run: Make) -> None:
    info = front.front_info(read_run(make_run()), "latency_ms")
    figure = front.draw_front(info)
    assert [trace.name for trace in figure.data][2:5] == [
        "front",
        "without distillation (control)",
        "teacher",
    ]
    assert tuple(figure.data[1].x) == info.finished.x
    assert tuple(figure.data[1].y) == info.views["retention"].finished
    assert tuple(figure.data[1].hovertext) == info.finished.hover
    assert tuple(figure.data[2].y) == info.views["retention"].front_y
    assert figure.layout.xaxis.type == "log"


def test_choosing_a_metric_changes_every_trace(make_run: Make) -> None:
    info = front.front_info(read_run(make_run()), "flops")
    figure = front.draw_front(info)
    for metric, update in front.choices(info).items():
        assert all(len(values) == len(figure.data) for values in update["traces"].values())
        assert tuple(update["traces"]["y"][1]) == info.views[metric].finished


def test_a_front_without_trials_still_draws(make_run: Make) -> None:
    info = front.front_info(read_run(make_run([], with_control=False, teacher={})), "params")
    assert len(front.draw_front(info).data) == 7
    assert front.trace_heights(info, "retention")[5] == {"x": [], "y": []}


def test_hover_text_is_escaped_and_holds_the_configuration(make_run: Make) -> None:
    config = '{"student": {"kind": "<b>x</b>", "image": {"width": 64}}, "training": {"lr": 0.001}}'
    run = read_run(make_run([row("<i>", "finished", 60.0, 100, config=config)], with_control=False))
    text = hover_text(run, run.trials[0])
    assert "<b>x</b>" not in text
    assert "<i>" not in text
    for part in ("&lt;b&gt;x&lt;/b&gt;", "width 64", "lr 0.001", "finished at epoch 9"):
        assert part in text


@pytest.mark.parametrize(("parts", "told"), [(4, True), (1, False), (None, False)])
def test_hover_text_and_page_tell_of_batches_only_where_they_were_taken_in_parts(
    make_run: Make, parts: int | None, told: bool
) -> None:
    run = read_run(
        make_run([{**row("0badcafe", "finished", 60.0, 100), "micro_batches": parts}], with_control=False)
    )
    for text in (hover_text(run, run.trials[0]), members_section(run)):
        assert ("taken in 4 parts" in text) == told


def write_history(folder: Path, rows: list[dict[str, Any]]) -> None:
    schema = history_schema(["retention"], [])
    for part in (folder / "history").iterdir():
        part.unlink()
    part = folder / "history" / "part-0000.arrow"
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for one in rows:
            writer.write_batch(pa.RecordBatch.from_pylist([one], schema=schema))


def test_curves_hold_measured_epochs_and_the_later_value_of_a_redone_one(make_run: Make) -> None:
    folder = make_run(ROWS, with_control=False)
    write_history(
        folder,
        [
            {"candidate_id": "a", "epoch": 1, "retention": 10.0, "loss": 5.0},
            {"candidate_id": "c", "epoch": 1, "retention": 9.0, "loss": 6.0},
            {"candidate_id": "a", "epoch": 2, "retention": None, "loss": 4.0},
            {"candidate_id": "a", "epoch": 3, "retention": 20.0, "loss": 3.5},
            {"candidate_id": "a", "epoch": 3, "retention": 21.0, "loss": 3.0},
            {"candidate_id": "z", "epoch": 1, "retention": 5.0, "loss": 6.0},
        ],
    )
    info = curves.curves_info(read_run(folder))
    assert info.rungs == (1, 3, 9)
    stopped, on_front = curves.GROUPS[0], curves.GROUPS[2]
    assert dict(info.curves) == {
        "retention": (
            curves.Curve(candidate_id="a", group=on_front, epochs=(1, 3), values=(10.0, 21.0)),
            curves.Curve(candidate_id="c", group=stopped, epochs=(1,), values=(9.0,)),
        ),
        "loss": (
            curves.Curve(candidate_id="a", group=on_front, epochs=(1, 2, 3), values=(5.0, 4.0, 3.0)),
            curves.Curve(candidate_id="c", group=stopped, epochs=(1,), values=(6.0,)),
        ),
    }
    figure = curves.draw_curves(info)
    assert list(figure.data[2].x) == [1, 3, None]
    assert [shape.x0 for shape in figure.layout.shapes] == [1, 3, 9]
    assert curves.choices(info)["loss"]["traces"]["y"][2] == [5.0, 4.0, 3.0, None]
