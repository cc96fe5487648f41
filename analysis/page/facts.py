"""Run facts: enough to judge a run and to repeat it."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import wording
from analysis.page.headline import ending, resume_command
from analysis.page.markup import Markup, command, details, element, join, paragraph, section
from analysis.run_folder import Run, number
from spaces.objectives import COSTS

SHOWN_ELSEWHERE = (
    "teacher",
    "dataset",
    "versions",
    "hardware",
    "defaults",
    "objectives",
    "limits",
    "blind",
    "caveats",
    "resumed",
    "sessions",
    "space",
    "warm_start",
    "hypervolume",
    "target",
    "whole_latency",
    "whole_latency_of_students",
)


def facts_section(run: Run) -> Markup:
    """Return how the run ended and how to go on, then its facts in groups."""
    facts = run.facts
    groups: list[tuple[str, Mapping[str, Any]]] = [
        ("Data", facts.get("dataset") or {}),
        ("Teacher", _teacher(facts.get("teacher") or {})),
        (
            "Blind student (sees no image)",
            _metrics(facts.get("blind") or {}) or {"metrics": "none was trained"},
        ),
        ("Warm start", _warm_start(facts.get("warm_start") or [])),
        ("Latency", _latency(facts)),
        ("Objectives", facts.get("objectives") or {}),
        ("Limits", facts.get("limits") or {"all": "none"}),
        ("Run", {**{key: facts[key] for key in facts if key not in SHOWN_ELSEWHERE}, "history": _torn(run)}),
        ("Hardware", facts.get("hardware") or {}),
    ]
    folded = [
        ("Versions", facts.get("versions") or {}),
        ("Sessions", _sessions(facts.get("sessions") or [])),
        ("Defaults in force", facts.get("defaults") or {}),
    ]
    resumed = facts.get("resumed") or []
    again = f" Resumed {wording.plural(len(resumed), 'time')}: {wording.plain(resumed)}." if resumed else ""
    return section(
        "Run facts",
        paragraph(ending(run) + again),
        paragraph("Extend it with:" if "--trials" in resume_command(run) else "Go on with:"),
        command(resume_command(run)),
        *(join([element("h3", title), _listed(content)]) for title, content in groups if content),
        *(details(title, _listed(content)) for title, content in folded if content),
        paragraph(
            "Parameters are counted as integers, embeddings included. FLOPs are 2 per multiply-add of all "
            "that serves one example in the tasks, every step of decoding included; matrix products, "
            "convolutions and attention only.",
            class_="note",
        ),
        id_="facts",
    )


def _teacher(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Return the teacher's facts, costs with their units, metrics in one line per split."""
    told = {key: value for key, value in teacher.items() if key not in ("fingerprints", "places", "latency")}
    told |= {cost: wording.cost(cost, number(told[cost])) for cost in COSTS if cost in told}
    if latency := teacher.get("latency"):
        told["latency_ms"] = wording.milliseconds(
            number(latency.get("latency_ms")), number(latency.get("spread_ms"))
        )
    for split in ("metrics", "test_metrics", "guessing"):
        told[split] = _metrics(told.get(split) or {})
    return told


def _latency(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the target, and how long the teachers take as a whole; {} of a run that knew no target."""
    if not facts.get("target"):
        return {}
    whole = {
        f"{name}, whole": wording.milliseconds(number(one.get("latency_ms")), number(one.get("spread_ms")))
        for name, one in (facts.get("whole_latency") or {}).items()
    }
    device = ((facts.get("teacher") or {}).get("latency") or {}).get("device")
    return {"target": wording.target(facts), **({"hardware": str(device)} if device else {}), **whole}


def _metrics(metrics: Mapping[str, float | None]) -> dict[str, str]:
    """Return metrics in words: names in full, percent with one digit."""
    return {
        wording.label(name): wording.number(number(value)) + wording.SPACE + "%"
        for name, value in metrics.items()
    }


def _warm_start(sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return for each earlier run what was taken over from it."""
    return {
        f"earlier run {number}": f"{source['run']}, begun {source['started']}: "
        f"{wording.plural(source['imported'], 'trained candidate')} to learn from, {source['finished']} finished, "
        f"{source['first']} on the fronts trained first here"
        for number, source in enumerate(sources, start=1)
    }


def _sessions(sessions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return for each session when, where, by which code and command it worked, and how it ended."""
    return {
        f"session {number}": f"begun {one['started']} on {one['host']}: {one['command']}; code {one['code']}"
        f"{', commit ' + one['git_commit'] if one.get('git_commit') else ''}; "
        f"{'ended by ' + str(one['ended_by']) if one.get('ended_by') else 'it did not tell its end'}"
        for number, one in enumerate(sessions, start=1)
    }


def _torn(run: Run) -> str:
    """Return how many history rows were read, and what was skipped."""
    read = wording.plural(run.history.table.num_rows, "epoch")
    if not run.history.torn:
        return f"{read} recorded"
    return f"{read} recorded; the torn end of {', '.join(run.history.torn)} was skipped"


def _listed(content: Mapping[str, Any]) -> Markup:
    """Return a mapping as a list of names and values."""
    return element(
        "dl",
        *(
            join([element("dt", wording.label(key)), element("dd", wording.plain(value))])
            for key, value in content.items()
        ),
    )
