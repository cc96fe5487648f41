"""Students that were trained longer: what they keep of their teacher in each task, beside two controls."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import wording
from analysis.page.markup import Markup, command, element, join, paragraph, section, table
from analysis.run_folder import Run
from analysis.seeds.finals import StudentFigures, summarised
from analysis.seeds.finals_file import read_finals
from analysis.seeds.finals_text import HEAD, table_row, title, verdict
from analysis.seeds.forms import FORMS_HEAD, forms_rows
from spaces.commands import command_line

TITLE, ANCHOR = "What students keep in the end", "finals"


def finals_section(run: Run) -> Markup:
    """Return the retention of each finalised student, or how to finalise."""
    known = read_finals(run.folder)
    if not known or not known["finals"]:
        return section(
            TITLE,
            paragraph(
                "No student was finalised: trained longer, measured as papers do it, beside two controls. The command:"
            ),
            command(command_line("search/finalise.py", run.folder, "--pick", "front", "--epochs", "40")),
            id_=ANCHOR,
        )
    last = _last_told(known["finals"])
    found = summarised(last)
    compressed = forms_rows(last)
    return section(
        TITLE,
        paragraph(_introduction(last)),
        *(_student(one, last) for one in found),
        join(
            [
                element("h3", "Distillation beside quantisation and pruning"),
                paragraph(
                    "All on the same data and tasks. Size is of the file; a pruned one is compressed. Latency by the clock."
                ),
                table(FORMS_HEAD, compressed, numbers=range(2, len(FORMS_HEAD)), label="Forms"),
            ]
        )
        if compressed
        else "",
        paragraph(_notes(last, known["finals"]), class_="note"),
        command(str(last["command"])) if last["command"] else "",
        id_=ANCHOR,
    )


def _introduction(finals: Mapping[str, Any]) -> str:
    """Return what was done and measured."""
    metrics = ", ".join(f"{name} by {wording.label(metric)}" for name, metric in finals["counts"].items())
    return (
        f"Trained {wording.plural(finals['epochs'], 'epoch')} longer than in the search and measured on the {finals['split']} "
        f"split: {metrics}. Kept is the share of the teacher's figure, with its 95 % interval over seeds; the controls had the "
        "same trainings, epochs and initialisation, one without anything of a teacher in the losses, one with a teacher of the "
        "same sizes and random weights."
    )


def _student(one: StudentFigures, finals: Mapping[str, Any]) -> Markup:
    """Return the table of one student, with its verdict."""
    rows = [table_row(one, index) for index in range(len(one.tasks))]
    words = verdict(one)
    return join(
        [
            element("h3", title(one, finals["epochs"], finals["fine_tune"])),
            table(HEAD, rows, numbers=range(2, len(HEAD)), label=f"Retention of {one.candidate_id}"),
            paragraph(f"{words[0].upper()}{words[1:]}."),
        ]
    )


def _last_told(finals: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the request that was worked on last, of those that have figures of a student where any has."""
    told = [one for one in finals if any(row["candidate_id"] for row in one["rows"])]
    return (told or finals)[-1]


def _notes(last: Mapping[str, Any], finals: Sequence[Mapping[str, Any]]) -> str:
    """Return what is to be known of the figures of one of several requests."""
    told = [str(one) for one in last.get("notes") or []]
    if last is not finals[-1]:
        told.append(f"a later request has no figures yet: {finals[-1]['command']}")
    elif len(finals) > 1:
        told.append(f"{wording.plural(len(finals) - 1, 'earlier request')} stand in finalised.json, too")
    return ". ".join(one[:1].upper() + one[1:] for one in told) + ("." if told else "")
