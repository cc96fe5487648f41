"""The table of the front members, and how to load each."""

import math

from analysis import wording
from analysis.page.markup import Markup, code, command, details, element, join, paragraph, section, table
from analysis.pareto import front_ids, pick
from analysis.run_folder import Run, Trial, number
from spaces.commands import command_line
from spaces.objectives import FRONT_COSTS


def members_section(run: Run) -> Markup:
    """Return the members of the three fronts: costs and quality, all metrics, and how to load each."""
    fronts = {axis: front_ids(run, axis) for axis in FRONT_COSTS}
    members = [t for t in run.finished if any(t.candidate_id in ids for ids in fronts.values())]
    if not members:
        text = "No student is finished yet, so there is none to load. Go on with the run:"
        go_on = command(command_line("search/run.py", "--resume", run.folder))
        return section("Students on a front", paragraph(text), go_on, id_="students")
    members.sort(key=lambda trial: trial.costs["params"])
    return section(
        "Students on a front",
        paragraph(_latency_words(run)),
        _costs_table(run, members, fronts),
        element("h3", "All metrics, validation / test set (%)"),
        _metrics_table(run, members),
        element("h3", "Configuration and how to export"),
        *(_member_details(run, trial) for trial in members),
        id_="students",
    )


def _latency_words(run: Run) -> str:
    """Return what the columns mean, and how long the teacher takes."""
    if not run.facts.get("target"):
        return (
            "Sorted by size; “x” is the share of the teacher's cost. Latency is thread-CPU time of one thread, median ± spread; "
            "the whole was measured by the clock on the wall, one student at a time at the end, and speed-up is the teacher's "
            "time over it."
        )
    composed = (run.facts.get("teacher") or {}).get("latency") or {}
    whole = (run.facts.get("whole_latency") or {}).get((run.facts.get("teacher") or {}).get("name")) or {}
    takes = [
        f"{wording.milliseconds(number(one.get('latency_ms')), number(one.get('spread_ms')))} {how}"
        for one, how in ((composed, "added up"), (whole, "as a whole"))
        if one
    ]
    teacher = f" The teacher takes {' and '.join(takes)}." if takes else ""
    return (
        "Sorted by size; “x” is the share of the teacher's cost. Latency is of one example on "
        f"{wording.target(run.facts)}: added up from the times of blocks that all candidates share, ± interquartile range; as a "
        "whole by the clock on the wall, one student at a time after the last trial. Speed-up is the teacher's whole latency "
        f"over it.{teacher}"
    )


def _costs_table(run: Run, members: list[Trial], fronts: dict[str, list[str]]) -> Markup:
    """Return the table of costs and of the quality objective."""
    names = [
        n for n in dict.fromkeys([run.quality, "retention", "retention_above_blind"]) if n in run.metric_names
    ]
    head = ["student", "on the front of"]
    for name in names:
        head += [f"{wording.label(name)} %", "test"]
    head += ["parameters", "x", "FLOPs", "x", "latency", "x", "latency, whole", "speed-up", "size"]
    rows = []
    for trial in members:
        on = [wording.label(axis) for axis, ids in fronts.items() if trial.candidate_id in ids]
        row: list[str] = [
            join([code(trial.candidate_id), _names(run, trial)]),
            join([part for axis in on for part in (element("span", axis, class_="tag"), " ")]),
        ]
        for name in names:
            row += [wording.number(trial.value(name)), wording.number(trial.test_metrics[name])]
        rows.append([*row, *_cost_cells(run, trial)])
    return table(
        head, rows, numbers=range(2, len(head)), label="Costs and quality of the students on a front"
    )


def _cost_cells(run: Run, trial: Trial) -> list[str]:
    """Return the cells of one trial's costs, each with its share of the teacher's."""
    return [
        wording.count(trial.costs["params"]),
        wording.share(run.share(trial, "params")),
        wording.count(trial.costs["flops"]),
        wording.share(run.share(trial, "flops")),
        wording.milliseconds(trial.costs["latency_ms"], trial.latency_spread_ms),
        wording.share(run.share(trial, "latency_ms")),
        wording.milliseconds(trial.wall_latency_ms, trial.wall_latency_spread_ms),
        f"{trial.speedup:.1f} times" if math.isfinite(trial.speedup) else wording.NOT_MEASURED,
        wording.cost("size_mib", trial.costs["size_mib"]),
    ]


def _metrics_table(run: Run, members: list[Trial]) -> Markup:
    """Return every metric of every member, and the teacher's for comparison."""
    names = [n for n in run.metric_names if any(math.isfinite(t.value(n)) for t in members)]
    tests = (run.facts.get("teacher") or {}).get("test_metrics") or {}

    def pair(value: float, test: float) -> str:
        return f"{wording.number(value)} / {wording.number(test)}"

    rows: list[list[str]] = [
        [code(t.candidate_id), *(pair(t.value(n), t.test_metrics[n]) for n in names)] for t in members
    ]
    rows.append(["teacher", *(pair(run.teacher(n), number(tests.get(n))) for n in names)])
    head = ["student", *(wording.label(name) for name in names)]
    return table(head, rows, numbers=range(1, len(head)), label="All metrics of the students on a front")


def _member_details(run: Run, trial: Trial) -> Markup:
    """Return one member's configuration, checkpoint and export command, folded."""
    title = join([code(trial.candidate_id), " ", element("span", wording.architecture(trial.config))])
    export = command_line("search/export.py", run.folder, "--pick", trial.candidate_id, "--out", "student/")
    lines = [
        *wording.config_lines(trial.config),
        ("seed", str(trial.seed)),
        ("trained", f"{wording.plural(trial.epochs, 'epoch')}, {wording.duration(trial.cpu_s)} of CPU time"),
        ("checkpoint", trial.checkpoint or "none"),
        *([("batches", wording.parts(trial.micro_batches))] if trial.micro_batches > 1 else []),
        *_alone(trial),
    ]
    listed = element("dl", *(join([element("dt", part), element("dd", text)]) for part, text in lines))
    return details(title, command(export), listed)


def _alone(trial: Trial) -> list[tuple[str, str]]:
    """Return what a student costs without the part of its teacher that it reads, for one that reads any."""
    if not trial.reads_teacher:
        return []
    costs = trial.head_costs
    told = [
        f"{wording.count(costs['params'])} parameters",
        f"{wording.count(costs['flops'])} FLOPs",
        wording.milliseconds(costs["latency_ms"]),
        wording.cost("size_mib", costs["size_mib"]),
    ]
    return [("alone", f"{', '.join(told)}; the rest is the part of its teacher that it reads")]


def _names(run: Run, trial: Trial) -> Markup:
    """Return the names (`best`, `knee`) that the params front has for this trial."""
    names = [name for name in ("best", "knee") if pick(run, name) is trial]
    return join([part for name in names for part in (" ", element("span", name, class_="tag"))])
