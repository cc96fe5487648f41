"""What distillation gained, from the control run; without one, how to run it."""

import math

from analysis import wording
from analysis.gains import CLEAR, Gain, control_metrics, gains
from analysis.page.markup import Markup, code, command, details, element, join, paragraph, section, table
from analysis.run_folder import Run
from spaces.commands import command_line


def gains_section(run: Run) -> Markup:
    """Return the gain of distillation, or how to measure it."""
    title, anchor = "What distillation gained", "distillation"
    metrics = control_metrics(run)
    if not metrics:
        return section(
            title,
            paragraph(
                "There is no control run, so what distillation gained is not known. "
                "Train the same students without it:"
            ),
            command(command_line("search/control.py", run.folder, "--pick", "front", "--seeds", "3")),
            id_=anchor,
        )
    first, *others = metrics
    found = gains(run, first)
    seeds = ", ".join(str(seed) for seed in (run.control or {}).get("seeds", []))
    return section(
        title,
        paragraph(_gain_sentence(found, first)),
        _gains_table(run, found),
        details(
            "Other metrics",
            *(join([element("h3", wording.label(m)), _gains_table(run, gains(run, m))]) for m in others),
        )
        if others
        else "",
        paragraph(
            f"The same candidates, epochs and initialisation, with and without distillation, seeds {seeds}. "
            f"Spread is the standard deviation of the gain over seeds; a gain counts as clear beyond "
            f"{CLEAR:g} spreads.",
            class_="note",
        ),
        id_=anchor,
    )


def _gain_sentence(found: list[Gain], metric: str) -> str:
    """Return what the control says about one metric, in words."""
    words = []
    for data in dict.fromkeys(gain.data for gain in found):
        compared = [gain for gain in found if gain.data == data and not math.isnan(gain.gain)]
        if not compared:
            continue
        clear = sum(gain.verdict == "clear gain" for gain in compared)
        mean = sum(gain.gain for gain in compared) / len(compared)
        words.append(
            f"On the {data} transfer set distillation changed {wording.label(metric)} by {mean:+.1f} points "
            f"on average; the gain is clear of the spread over seeds for {clear} of "
            f"{wording.plural(len(compared), 'student')}."
        )
    return (
        " ".join(words)
        or "No student was trained both with and without distillation on the same transfer set."
    )


def _gains_table(run: Run, found: list[Gain]) -> Markup:
    """Return the gains of one metric, one line per student and transfer set."""
    sizes = {trial.candidate_id: wording.share(run.share(trial, "params")) for trial in run.trials}
    rows = [
        [
            code(gain.candidate_id),
            sizes.get(gain.candidate_id, wording.NOT_MEASURED),
            gain.data,
            wording.number(gain.plain),
            wording.number(gain.distilled),
            f"{gain.gain:+.1f}" if math.isfinite(gain.gain) else wording.NOT_MEASURED,
            f"± {gain.spread:.1f}" if math.isfinite(gain.spread) else wording.NOT_MEASURED,
            str(gain.seeds),
            gain.verdict,
        ]
        for gain in found
    ]
    head = ["student", "x", "transfer set", "without %", "with %", "gain", "spread", "seeds", "verdict"]
    return table(head, rows, numbers=(1, 3, 4, 5, 6, 7), label="Gain of distillation")
