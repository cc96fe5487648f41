"""What early stopping did: the balance of every rung, and each decision with its reason."""

from collections.abc import Sequence

from analysis import wording
from analysis.page.markup import Markup, code, details, element, paragraph, section, table
from analysis.run_folder import Run
from analysis.rungs import RUNGS_FILE, Decision
from analysis.summary import RungBalance, Summary, rung_balances

SHOWN = 200  # decisions; a page with thousands of rows is slow, and all of them are in the file


def decisions_section(run: Run, result: Summary) -> Markup:
    """Return per rung who came, went on and was stopped; the decisions one by one, folded."""
    rungs = run.rungs
    if not rungs.decisions:
        return section("Early stopping", paragraph(_nobody(run)), id_="stopping")
    count = len(rungs.decisions)
    title = f"All {count} decisions" if count <= SHOWN else f"The first {SHOWN} of {count} decisions"
    return section(
        "Early stopping",
        paragraph(_rule(run)),
        _balances_table(rung_balances(run)),
        paragraph(_saved(run, result)),
        details(
            f"{title} of the scheduler ({rungs.scheduler}), in their order",
            _decisions_table(rungs.decisions[:SHOWN]),
            paragraph(f"All are in {RUNGS_FILE}; the rank there is the place less one.", class_="note"),
        ),
        id_="stopping",
    )


def _nobody(run: Run) -> str:
    """Return why there is no decision to show."""
    if not run.rungs.scheduler:
        return "No candidate has come to a rung yet, so none was judged."
    return f"The scheduler ({run.rungs.scheduler}) has judged no candidate yet."


def _rule(run: Run) -> str:
    """Return in words how the scheduler judges."""
    named = ", ".join(wording.label(name) for name in run.facts.get("objectives") or {})
    compared = {
        "moasha": f"by all objectives at once ({named}): whole fronts follow one another, and inside a front those "
        "that lie farthest from the others come first",
        "asha": f"by {wording.label(run.quality)} alone",
    }.get(run.rungs.scheduler)
    words = "At a rung a candidate is compared with all that came there before it"
    words += f", {compared}" if compared else ""
    return (
        words
        + ". It is stopped unless it stands among the best; who comes while a rung is nearly empty goes on."
    )


def _saved(run: Run, result: Summary) -> str:
    """Return what it brought, in words."""
    stopped = len({one.candidate_id for one in run.rungs.decisions if one.stopped})
    judged = len({one.candidate_id for one in run.rungs.decisions})
    whole = result.epochs_saved + result.epochs_trained
    words = f"Of {wording.plural(judged, 'candidate')} judged, {stopped} were stopped. "
    words += (
        f"They left out {result.epochs_saved} of {whole} epochs ({wording.percent(result.saved_share)})."
        if result.epochs_saved
        else "No epoch has been saved."
    )
    if run.rungs.num_unjudged:
        words += f" Entered from the history without a verdict, after {RUNGS_FILE} was lost: {run.rungs.num_unjudged}."
    return words


def _balances_table(balances: Sequence[RungBalance]) -> Markup:
    """Return one line per rung."""
    rows = [
        [
            f"epoch {one.rung}",
            str(one.came),
            str(one.came - one.stopped),
            str(one.stopped),
            wording.percent(one.stopped / one.came),
            str(one.epochs_saved),
        ]
        for one in balances
    ]
    head = ["rung", "came", "went on", "stopped", "share stopped", "epochs saved"]
    return table(head, rows, numbers=range(1, len(head)), label="Balance of the rungs")


def _decisions_table(decisions: Sequence[Decision]) -> Markup:
    """Return decisions, one per line."""
    rows = [
        [
            code(one.candidate_id),
            f"epoch {one.rung}",
            wording.NOT_MEASURED if one.rank is None else str(one.rank + 1),
            str(one.size),
            "stop" if one.stopped else "go on",
            element("p", one.reason or "no reason recorded"),
        ]
        for one in decisions
    ]
    head = ["candidate", "rung", "place", "of", "verdict", "reason"]
    return table(head, rows, numbers=(2, 3), label="Decisions of the scheduler")
