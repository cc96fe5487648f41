"""What hovering over a candidate says."""

import math
import textwrap
from html import escape

from analysis import wording
from analysis.run_folder import Run, Trial
from spaces.objectives import FRONT_COSTS

WIDTH = 42  # characters of a line: fits a plot on a phone


def hover_text(run: Run, trial: Trial) -> str:
    """Return what hovering over a candidate says: its id, status, costs and whole configuration, escaped."""
    told = {
        **{name: wording.cost(name, trial.costs[name]) for name in FRONT_COSTS},
        "latency_ms": wording.milliseconds(trial.costs["latency_ms"], trial.latency_spread_ms),
    }
    costs = [f"{told[name]} ({wording.share(run.share(trial, name))})" for name in FRONT_COSTS]
    whole = wording.milliseconds(trial.wall_latency_ms, trial.wall_latency_spread_ms)
    head = [
        f"<b>{escape(_name(trial))}</b>, {escape(trial.status)} at epoch {trial.epochs}",
        f"{costs[0]} parameters, {costs[1]} FLOPs",
        f"latency {costs[2]}",
        *([f"as a whole {whole}"] if math.isfinite(trial.wall_latency_ms) else []),
        *([f"batches {wording.parts(trial.micro_batches)}"] if trial.micro_batches > 1 else []),
    ]
    body = []
    for part, settings in wording.config_lines(trial.config):
        first, *rest = textwrap.wrap(f"{part}: {settings}", width=WIDTH)
        body.append(escape(first).replace(f"{escape(part)}:", f"<b>{escape(part)}</b>", 1))
        body.extend("    " + escape(line) for line in rest)
    return "<br>".join([*head, *body])


def _name(trial: Trial) -> str:
    """Return the id of a candidate, with the name of a baseline and what a head is."""
    named = f" ({trial.config['baseline']})" if trial.config.get("baseline") else ""
    return f"{trial.candidate_id}{named}{', a head on its teacher' if trial.reads_teacher else ''}"
