"""`python analysis/ablation.py RUN`: what an ablation shows: arms side by side over seeds, and what became of its claims.

Works while the run goes on, too: what is not there yet is undecided. Writes ablation.html beside report.html.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis import wording
from analysis.figures.arm_bars import arm_info, draw_arms
from analysis.grid import chosen_metric, plain_table
from analysis.page.markup import element, paragraph, section, table
from analysis.page.shell import figure_box, page
from analysis.run_folder import Run, read_run
from analysis.seeds.arms import Arm, arms_of, claims_of
from analysis.seeds.cells import Value
from analysis.seeds.contrast import contrast
from analysis.seeds.verdicts import Judge, Verdict
from spaces.console import command
from spaces.errors import StudentSearchError
from spaces.files import write_text
from spaces.paths import kept_flag, path_flag

ABLATION_FILE = "ablation.html"
ARM_HEAD = ("arm", "mean", "95 % interval", "seeds", "params", "FLOPs", "latency", "not finished")
CLAIM_HEAD = ("claim", "verdict", "why")
RULE = (
    "Intervals are of 95 %, Welch's for differences; each claim by itself, none is corrected for the number of claims. "
    "'The same' holds only where the whole interval lies within."
)


def arm_rows(run: Run, arms: Mapping[str, Arm]) -> list[list[str]]:
    """Return one row of cells per arm."""
    rows = []
    for arm in arms.values():
        value, interval = Value.of(arm.sample), contrast([(1.0, arm.sample)])
        teacher = {cost: run.teacher(cost) for cost in arm.costs}
        shares = [
            f"{wording.cost(cost, arm.costs[cost])} ({wording.share(arm.costs[cost] / teacher[cost])})"
            if teacher[cost] > 0
            else wording.cost(cost, arm.costs[cost])
            for cost in ("params", "flops", "latency_ms")
        ]
        between = f"{interval.low:.1f} to {interval.high:.1f}" if interval.known else wording.NOT_MEASURED
        ends = ", ".join(f"{count} {status}" for status, count in arm.ends.items())
        rows.append([arm.name, wording.number(value.mean), between, str(value.seeds), *shares, ends])
    return rows


def verdicts(run: Run, arms: Mapping[str, Arm], metric: str) -> list[Verdict]:
    """Return what became of each claim, in the order of the space."""
    judge = Judge(arms=arms, maximise=metric != run.quality or run.maximise)
    return [judge.verdict(words, claim) for words, claim in claims_of(run).items()]


def ablation_text(run: Run, arms: Mapping[str, Arm], metric: str) -> str:
    """Return arms and verdicts as text for a terminal."""
    rows = [[wording.on_terminal(cell) for cell in row] for row in arm_rows(run, arms)]
    parts = [
        f"{run.folder}: {wording.label(metric)} (%) after the last epoch",
        plain_table(ARM_HEAD, rows),
        *(f"{one.outcome.upper()}: {one.words}\n    {one.told}" for one in verdicts(run, arms, metric)),
        RULE,
    ]
    return "\n\n".join(parts) + "\n"


def ablation_page(run: Run, arms: Mapping[str, Arm], metric: str) -> str:
    """Return the same as one HTML document, with a figure."""
    name = str(run.facts.get("name") or "ablation")
    title, found = f"Ablation {name}", verdicts(run, arms, metric)
    rows = [[paragraph(one.words), one.outcome, paragraph(one.told)] for one in found]
    label = f"{wording.label(metric)} (%) after the last epoch"
    return page(
        title,
        element("h1", title),
        section("What it shows", table(CLAIM_HEAD, rows, label="claims"), paragraph(RULE), id_="claims")
        if rows
        else paragraph("The space makes no claims."),
        section(
            "Arms",
            paragraph(label),
            figure_box(draw_arms(arm_info(list(arms.values())), wording.label(metric)), "arms", label),
            table(ARM_HEAD, arm_rows(run, arms), label="arms"),
            id_="arms-table",
        ),
        element("footer", f"Drawn from {run.folder} by python analysis/ablation.py."),
    )


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description="Print and draw the arms of an ablation, and judge its claims."
    )
    parser.add_argument(
        "run", metavar="RUN", type=path_flag, help="the run folder of a space with `ablation:`"
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="what to compare (default: the quality objective of the run)"
    )
    parser.add_argument(
        "--out", metavar="FILE", type=kept_flag, help="the HTML file (default: in the run folder)"
    )
    options = parser.parse_args(arguments)
    try:
        run = read_run(options.run)
        metric = chosen_metric([run], options.metric)
        arms = arms_of(run, metric)
        target: Path = options.out or options.run / ABLATION_FILE
        write_text(target, ablation_page(run, arms, metric))
        print(ablation_text(run, arms, metric))
        print(f"ablation: {target}")
    except StudentSearchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
