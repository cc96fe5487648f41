"""Why candidates did not get to the end."""

from analysis.page.markup import Markup, code, element, join, paragraph, section, table
from analysis.run_folder import Run, Trial
from analysis.summary import Summary, causes

SHOWN = 12


def endings_section(run: Run, result: Summary) -> Markup:
    """Return what was rejected, stopped or failed, and why."""
    parts: list[str] = []
    rejected = [trial for trial in run.candidates if trial.status == "rejected"]
    stopped = [trial for trial in run.candidates if trial.status == "stopped"]
    failed = [trial for trial in run.candidates if trial.failed]
    running = [trial for trial in run.candidates if trial.status == "running"]
    if rejected:
        parts += [
            element("h3", f"{len(rejected)} rejected before training"),
            _causes_table(rejected, "rejected"),
        ]
    if stopped:
        saved = f"They trained {sum(t.epochs for t in stopped)} epochs and left out {result.epochs_saved}."
        parts += [
            element("h3", f"{len(stopped)} stopped early"),
            paragraph(saved),
            _causes_table(stopped, "stopped"),
        ]
    if failed:
        parts += [element("h3", f"{len(failed)} failed"), _failures_table(failed)]
    if running:
        ids = join(part for trial in running for part in (code(trial.candidate_id), " "))
        parts += [element("h3", f"{len(running)} cut off while training"), element("p", ids)]
    if not parts:
        parts.append(paragraph("None: every candidate tried was trained to the last epoch."
                               if run.candidates else "Nothing has been tried yet."))  # fmt: skip
    return section("Rejected, stopped, failed", *parts, id_="endings")


def _causes_table(trials: list[Trial], what: str) -> Markup:
    """Return reasons with how often each occurred."""
    rows = [
        [
            str(len(cause.trials)),
            element(
                "p",
                ("for example: " if len(cause.trials) > 1 else "") + (cause.example or "no reason recorded"),
            ),
            _ids(cause.trials),
        ]
        for cause in causes(trials)
    ]
    return table(["count", "reason", "candidates"], rows, label=f"Why candidates were {what}")


def _failures_table(trials: list[Trial]) -> Markup:
    """Return every failed trial with its reason and its log."""
    rows = [
        [
            code(trial.candidate_id),
            trial.status,
            str(trial.epochs),
            element("p", trial.reason or "no reason recorded"),
            code(f"logs/{trial.candidate_id}.log"),
        ]
        for cause in causes(trials)
        for trial in cause.trials
    ]
    head = ["candidate", "status", "epochs", "reason", "log in the run folder"]
    return table(head, rows, numbers=(2,), label="Failed trials")


def _ids(trials: tuple[Trial, ...]) -> Markup:
    """Return the first candidate ids and how many more there are."""
    shown = join(part for trial in trials[:SHOWN] for part in (code(trial.candidate_id), " "))
    more = f"and {len(trials) - SHOWN} more" if len(trials) > SHOWN else ""
    return element("div", shown, more, class_="wrap")
