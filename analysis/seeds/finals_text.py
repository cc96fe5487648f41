"""The finals of a run on the terminal, in plain columns."""

import math
from collections.abc import Iterator, Sequence

from analysis import wording
from analysis.run_folder import Run
from analysis.seeds.contrast import Interval
from analysis.seeds.finals import PLAIN, RANDOM, STUDENT, StudentFigures, summarised
from analysis.seeds.finals_file import read_finals
from analysis.seeds.forms import FORMS_HEAD, forms_rows

HEAD = ("task", "metric", "teacher", "student", "kept %", "without teacher", "random teacher")
CONTROLS = {PLAIN: "no distillation", RANDOM: "a teacher of random weights"}


def finals_lines(run: Run) -> Iterator[str]:
    """Yield the lines of the last request of a run."""
    known = read_finals(run.folder)
    if not known or not known["finals"]:
        return
    finals = known["finals"][-1]
    for one in summarised(finals):
        yield ""
        yield title(one, finals["epochs"], finals["fine_tune"])
        yield from _columns([HEAD, *(table_row(one, index) for index in range(len(one.tasks)))])
        yield verdict(one)
    if forms := forms_rows(finals):
        yield ""
        yield "distillation beside quantisation and pruning without training (size of the file, a pruned one compressed)"
        yield from _columns([FORMS_HEAD, *forms])


def title(one: StudentFigures, epochs: int, fine_tune: int) -> str:
    """Return what a table is about."""
    size = f"{wording.share(one.share('params'))} parameters, {wording.share(one.share('flops'))} FLOPs"
    faster = f", {one.speedup:.2f} times faster" if math.isfinite(one.speedup) else ""
    how = f"{wording.plural(epochs, 'epoch')} longer" + (
        f", then {fine_tune} for each task" if one.tuned else ""
    )
    where = f", on {one.domain} without training there" if one.domain else ""
    return f"{one.candidate_id} ({size}{faster}), {how}{where}"


def table_row(one: StudentFigures, index: int) -> tuple[str, ...]:
    """Return the cells of a task, as `HEAD` names them: means over seeds, retention with its interval."""
    task = one.tasks[index]
    means = {method: [*task.values.get(method, {}).values()] for method in (STUDENT, PLAIN, RANDOM)}
    told = {
        method: wording.number(sum(values) / len(values)) if values else wording.NOT_MEASURED
        for method, values in means.items()
    }
    return (
        task.task,
        wording.label(task.metric),
        wording.number(task.teacher),
        told[STUDENT],
        interval(task.kept(STUDENT)),
        told[PLAIN],
        told[RANDOM],
    )


def verdict(one: StudentFigures) -> str:
    """Return the mean over tasks, and what the student has gained over each control, in words."""
    seeds = len(one.means(STUDENT))
    less = f" but {', '.join(one.beyond)} (the teacher has 0)" if one.beyond else ""
    words = [
        f"kept over all tasks{less}: {interval(one.kept(STUDENT))} % over {wording.plural(seeds, 'seed')}"
    ]
    for control, name in CONTROLS.items():
        gain = one.gain(control)
        if math.isfinite(gain.estimate):
            words.append(f"gain over {name}: {signed(gain)} points{_sure(gain)}")
    return "; ".join(words)


def _sure(gain: Interval) -> str:
    """Return how sure a difference is, "" for a clear gain."""
    if not gain.known:
        return ", of one seed"
    if gain.high < 0:
        return ", a clear loss"
    return "" if gain.low > 0 else ", not clear of chance"


def interval(found: Interval) -> str:
    """Return an estimate with its 95 % interval: `96.1 [95.2, 97.0]`."""
    if not math.isfinite(found.estimate):
        return wording.NOT_MEASURED
    if not found.known:
        return f"{found.estimate:.1f}"
    return f"{found.estimate:.1f} [{found.low:.1f}, {found.high:.1f}]"


def signed(found: Interval) -> str:
    """Return the same of a difference."""
    told = f"{found.estimate:+.1f}"
    return f"{told} [{found.low:+.1f}, {found.high:+.1f}]" if found.known else told


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows in columns, the first two flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()
