"""The result of the benchmark as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engines.properties import STOPPERS
from engines.proposals import COUNTS, PAIRED, SHOWN, ours
from engines.stopping import TARGETS, WORKERS


def render(result: Mapping[str, Any]) -> str:
    """Return all parts that a result has."""
    writers = {"A": _proposals, "B": _stopping, "C": _properties, "D": _expense}
    # an interrupted part A has runs and no tables yet
    whole = [part for part, found in sorted(result["parts"].items()) if part != "A" or "tables" in found]
    return "\n\n".join(writers[part](result["parts"][part]) for part in whole) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def _proposals(part: Mapping[str, Any]) -> str:
    """Return one table per data set."""
    seeds = part["seeds"]
    texts = [
        f"### A. Proposals: NAS-Bench-201, three objectives, share of the exact hypervolume, {seeds} seeds\n\n"
        "Mean and standard deviation after so many evaluations; a repeated proposal is an evaluation. "
        f"*Ahead*: seeds of {seeds} in which ours has more after {PAIRED}. CPU ms: to propose and to learn, per evaluation."
    ]
    for data_set, rows in part["tables"].items():
        mine = [name for name in ours() if name in rows]
        head = [data_set, *map(str, SHOWN), "unique", *(f"{name} ahead" for name in mine), "CPU ms"]
        cells = [_proposal_row(name, figures, mine) for name, figures in rows.items()]
        texts.append(table(head, cells))
        behind = {name: rows[name]["behind_random_at"] for name in mine if rows[name].get("behind_random_at")}
        if behind:
            texts.append(f"Mean below random search at these evaluations: {behind}")
    return "\n\n".join(texts)


def _proposal_row(name: str, figures: Mapping[str, Any], mine: Sequence[str]) -> list[str]:
    """Return the cells of one searcher."""
    places = [COUNTS.index(count) for count in SHOWN]
    means, stds = figures["mean"], figures["std"]
    shares = [f"{means[p]:.3f} ± {stds[p]:.3f}" if means[p] is not None else "" for p in places]
    wins = ["" if name == one else str(figures["behind"][one]) for one in mine]
    shown = f"**{name}**" if name in mine else name
    return [shown, *shares, f"{figures['unique']:.2f}", *wins, f"{figures['cpu_ms']:.1f}"]


def _stopping(part: Mapping[str, Any]) -> str:
    """Return one table per set of objectives and number of workers."""
    texts = [
        f"### B. Early stopping: {part['candidates']} students with recorded learning curves, {part['orders']} random orders\n\n"
        "*Compute*: of training all to the end. *To 95%* of the hypervolume: compute in parts of what no stopping needs to it "
        "(medians over the orders; how many reach it). A peer's rungs follow from its factor: 1 3, or 1 2 5 where the best "
        "half goes on."
    ]
    for entry in part["sets"]:
        texts.append(f"Objectives {', '.join(entry['objectives'])}; exact front of {entry['front_size']}.")
        for workers in WORKERS:
            head = [
                f"{workers} worker{'s' * (workers > 1)}",
                "compute",
                *(f"to {target:.0%}" for target in TARGETS),
            ]
            head += ["final hypervolume", "front found", "finished"]
            rows = entry[str(workers)].items()
            texts.append(table(head, [_stopping_row(name, figures) for name, figures in rows]))
    return "\n\n".join(texts)


def _stopping_row(name: str, figures: Mapping[str, Any]) -> list[str]:
    """Return the cells of one scheduler."""
    reached = [figures[f"to_{target}"] for target in TARGETS]
    return [
        name,
        f"{figures['used']:.0%}",
        *(
            f"{one['ratio']:.0%} ({one['reached']})" if one["ratio"] else f"({one['reached']})"
            for one in reached
        ),
        f"{figures['final']['mean']:.3f} ± {figures['final']['std']:.3f}",
        f"{figures['front']['mean']:.0%} ± {figures['front']['std']:.0%}",
        f"{figures['finished']:.0f}",
    ]


def _properties(part: Mapping[str, Any]) -> str:
    """Return the two tables."""
    head = ["scheduler, 2,000 random rungs", "stops what dominates all", "spares what all dominate"]
    head += ["verdict depends on the order of the record"]
    rows = [
        [
            STOPPERS[name],
            *(f"{figures[key]:.1%}" for key in ("dominating_stopped", "worst_spared", "order_matters")),
        ]
        for name, figures in part["newcomers"].items()
    ]
    repeats = [[f"**{n}**" if n in ours() else n, f"{share:.1%}"] for n, share in part["repeats"].items()]
    return "\n\n".join(
        [
            f"### C. Properties, {part['seeds']} seeds",
            table(head, rows),
            table(["searcher", "repeats among 200 proposals, 432 configurations"], repeats),
        ]
    )


def _expense(part: Mapping[str, Any]) -> str:
    """Return the two tables."""
    proposing = part["proposal_ms"]
    counts = sorted({count for figures in proposing.values() for count in figures}, key=int)
    head = ["CPU ms per proposal, space of dlip.yaml", *(f"{int(count):,} observed" for count in counts)]
    rows = [
        [name, *(f"{figures[count]:.2f}" if count in figures else "" for count in counts)]
        for name, figures in proposing.items()
    ]
    head_2 = ["5,000 simulated trials", "CPU s", "wall s", "MiB per 1,000 trials"]
    rows_2 = [
        [
            name.replace(" none", "").replace(" ", " under "),
            f"{figures['cpu_s']:.1f}",
            f"{figures['wall_s']:.1f}",
            f"{figures['mib_per_1000']:.1f}",
        ]
        for name, figures in part["simulated"].items()
    ]
    return "\n\n".join(["### D. Own cost", table(head, rows), table(head_2, rows_2)])
