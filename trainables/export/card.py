"""The README of an exported student: what it is, what was measured, on what."""

from collections.abc import Mapping, Sequence
from typing import Any

USE = """```python
from PIL import Image
from trainables.export import load

student = load("path/to/this/folder")
pictures = [Image.open("picture.jpg")]
{calls}
```
"""
CALLS = {
    "retrieval": 'student.embed_images(pictures) @ student.embed_texts(["a caption"]).T',
    "captioning": "student.caption(pictures)",
    "vqa": 'student.answer(pictures, ["how many are there ?"])',
    "matching": 'student.match(pictures, ["a caption"])',
    "nlvr2": 'student.holds(pictures, other_pictures, ["a statement"])',
}
CLASSIFY = "student.classify(pictures, k=5)  # names with their probabilities"
EMBED = "student.embed_images(pictures)"
SIGNALS = "student.signals(pictures, wants=set(list(student.blueprint.offers)[:1]))"

UNITS = {
    "params": "parameters",
    "flops": "FLOPs per example (2 x MAC, every task once)",
    "latency_ms": "ms per example (every task once), added up from the times of its blocks",
    "latency_spread_ms": "ms, interquartile range of the latency",
    "wall_latency_ms": "ms per example, measured as a whole by the wall clock",
    "wall_latency_spread_ms": "ms, interquartile range of the same",
    "size_mib": "MiB, weights and tokenizer",
    "head_params": "parameters of the student alone",
    "head_flops": "FLOPs of the student alone",
    "head_latency_ms": "ms, the student alone",
    "head_size_mib": "MiB, weights of the student alone",
    "speedup": "times as fast as the teacher, both as a whole",
}


FEW = 10  # classes that are named


def model_card(measured: Mapping[str, Any]) -> str:
    """Return the card in Markdown; sections whose figures are not there are left out.

    Args:
        measured: any of `candidate_id` (text), `metrics` ({split: {name: percent}}), `costs` ({name: value}),
            `teacher` ({name, fingerprint, metrics: {split: {..}}, costs}), `dataset` (text), `hardware` (as
            `costs.hardware` gives it), `target` (of latency, as `Target.to_dict` gives it), `command` (text: the search),
            `finals_command` (text: what trained it after that), `job` (what trains this student alone), `config`
            (the resolved candidate), `tasks` (names), `model` (`Blueprint.to_dict()`), `classes` (names in the order of the
            logits), `reads` (of a student that reads its teacher: {teacher, signals, model}, of the part of it in `reads/`).
    """
    title = f"Student {measured['candidate_id']}" if measured.get("candidate_id") else "Student"
    teacher = measured.get("teacher") or {}
    lines = [f"# {title}", "", _origin(measured, teacher), ""]
    lines += _parts(measured.get("reads") or {})
    lines += _sizes("Sizes", measured.get("model") or {})
    lines += _sizes("Sizes of the part of the teacher", (measured.get("reads") or {}).get("model") or {})
    lines += _class_names(measured.get("classes") or ())
    lines += _metrics(measured.get("metrics") or {}, teacher.get("metrics") or {})
    lines += _costs(_told_costs(measured), teacher.get("costs") or {})
    lines += _hardware(measured.get("hardware") or {}, measured.get("target") or {})
    lines += _training(measured.get("config") or {})
    tasks = measured.get("tasks") or ()
    calls = [CALLS[task] for task in tasks if task in CALLS]
    if measured.get("classes"):
        calls.append(CLASSIFY)
    elif "classification" in tasks:
        calls.append(EMBED)
    lines += ["## Use", "", USE.format(calls="\n".join(calls or [SIGNALS]))]
    return "\n".join([*lines, *_reproduce(measured)])


def _reproduce(measured: Mapping[str, Any]) -> list[str]:
    """Return the commands: of this student alone, where its job is in the folder, and of the search that found it."""
    lines: list[str] = []
    if measured.get("job"):
        which = f" {measured['candidate_id']}" if measured.get("candidate_id") else ""
        lines += [
            f"This student{which} alone: the same sizes, losses, seed, data and teacher, which `candidate.json` in this folder",
            "names; beside an installed student-search, in this folder:",
            "",
            "```",
            "python -m trainables.worker candidate.json --out retrained/",
            "```",
            "",
        ]
    commands = {"The search that found it:": "command", "What trained it after that:": "finals_command"}
    for told, name in commands.items():
        if measured.get(name):
            lines += [told, "", "```", str(measured[name]), "```", ""]
    return ["## Reproduce", "", *lines] if lines else []


def _origin(measured: Mapping[str, Any], teacher: Mapping[str, Any]) -> str:
    kind = (measured.get("model") or {}).get("family")
    text = (
        f"A small model of the family `{kind}`, found by search" if kind else "A small model, found by search"
    )
    if teacher.get("name"):
        mark = f" (fingerprint {teacher['fingerprint']})" if teacher.get("fingerprint") else ""
        text += f" and distilled from the teacher `{teacher['name']}`{mark}"
    return text + (f". Data: {measured['dataset']}." if measured.get("dataset") else ".")


def _parts(reads: Mapping[str, Any]) -> list[str]:
    """Return what is inside the folder of a student that reads its teacher."""
    if not reads:
        return []
    signals = ", ".join(f"`{one}`" for one in reads["signals"])
    return [
        "## What is inside",
        "",
        f"The student is a head: it reads {signals} of its teacher. This folder holds the student, and under `reads/` the part",
        f"of the teacher `{reads['teacher']}` (family `{reads['model']['family']}`) that says this. `load` puts both together;",
        "`load(folder, alone=True)` gives the student without it, for those who have these signals already. `params`, `flops`,",
        "`latency_ms` and `size_mib` are of both together, from raw pixels and text to answer; `head_*` of the student alone.",
        "",
    ]


def _class_names(names: Sequence[str]) -> list[str]:
    """Return how many classes a student tells apart, and the first of them by name."""
    if not names:
        return []
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    told = f"{', '.join(names[:FEW])}{more}"
    return ["## Classes", "", f"{len(names)}, by name in `config.json`: {told}.", ""]


def _told_costs(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return the costs; those of the student alone only where they differ from them."""
    costs = measured.get("costs") or {}
    return {name: one for name, one in costs.items() if measured.get("reads") or not name.startswith("head_")}


def _sizes(title: str, model: Mapping[str, Any]) -> list[str]:
    """Return the architecture, one row a part; what a family nests is shown on one line."""
    rows = [(name, _shown(value)) for name, value in model.items() if name != "family"]
    return _table(title, ("part", ""), rows)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _metrics(
    metrics: Mapping[str, Mapping[str, float]], teacher: Mapping[str, Mapping[str, float]]
) -> list[str]:
    rows = []
    for split, values in metrics.items():
        for name, value in values.items():
            reference = (teacher.get(split) or {}).get(name)
            rows.append((split, name, f"{value:.2f}", "" if reference is None else f"{reference:.2f}"))
    return _table("Quality, in percent", ("split", "metric", "student", "teacher"), rows)


def _costs(costs: Mapping[str, float], teacher: Mapping[str, float]) -> list[str]:
    rows = [
        (name, _number(value), _number(teacher[name]) if name in teacher else "", UNITS.get(name, ""))
        for name, value in costs.items()
    ]
    return _table("Costs", ("cost", "student", "teacher", "unit"), rows)


def _hardware(hardware: Mapping[str, Any], target: Mapping[str, Any]) -> list[str]:
    """Latency means nothing without its machine and target; runs of before measured one thread of this CPU."""
    if not hardware:
        return []
    rows = [
        (name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in hardware.items()
    ]
    rows = [(name, value or "none") for name, value in rows]
    return [
        *_table("Measured on", ("", ""), rows),
        f"Latency: {', '.join(f'{name} {value}' for name, value in target.items())}; a low quantile of repeated runs."
        if target
        else "Latency: batch 1, one thread, median of repeated runs.",
        "",
    ]


def _training(config: Mapping[str, Any]) -> list[str]:
    losses = [(name, f"{options['weight']:g}") for name, options in (config.get("losses") or {}).items()]
    training = [(name, str(value)) for name, value in (config.get("training") or {}).items()]
    return [*_table("Losses", ("loss", "weight"), losses), *_table("Training", ("option", "value"), training)]


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    body = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
    return [f"## {title}", "", *body, ""]
