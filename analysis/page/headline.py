"""The head of the report: what was searched, what came out in plain words, and six figures."""

import math
import time

from analysis import wording
from analysis.page.markup import Markup, code, element, join, paragraph
from analysis.run_folder import Run, Trial
from analysis.summary import Summary
from spaces.commands import command_line

LINKS = {
    "fronts": "Fronts",
    "students": "Students on a front",
    "distillation": "What distillation gained",
    "curves": "Learning curves",
    "stopping": "Early stopping",
    "endings": "Rejected, stopped, failed",
    "facts": "Run facts",
}
YEAR_9999_S = 253_402_300_800.0  # what a damaged table holds beyond it is no time
HEADLINE_SHARES = (0.5, 0.15)
ENDINGS = {
    "trials": "ended after its number of trials",
    "exhausted": "ended because nothing new was left to try",
    "limits": "ended because nearly every proposal broke a limit",
    "wall_clock": "ended when its time was over",
    "device_hours": "ended when its device-hours were used up",
    "plateau": "ended because the hypervolume no longer grew",
    "failures": "ended because the first candidates all failed alike",
    "interrupted": "was interrupted; every result up to then is here",
    "failed": "broke off with an error; every result up to then is here",
}


def header(run: Run, result: Summary) -> Markup:
    """Return title, outcome in words, figures and links."""
    teacher = run.facts.get("teacher") or {}
    name = str(run.facts.get("name") or run.folder.name)
    dataset = run.facts.get("dataset") or {}
    size = f" ({wording.count(run.teacher('params'))} parameters)" if teacher else ""
    kind = dataset.get("kind", "unknown")
    others = [one for one in run.facts.get("teachers") or {} if one != teacher.get("name")]
    teachers = ", ".join([f"{teacher.get('name', 'unknown')}{size}", *others])
    about = f"Teacher{'s' * bool(others)}: {teachers}. Data: {kind}. {ending(run)}"
    links = element("nav", *(element("a", text, href=f"#{anchor}") for anchor, text in LINKS.items()))
    return join(
        [
            element("header", element("h1", f"Students for {name}"), paragraph(about), links),
            caveats(run),
            paragraph(*sentences(run, result), class_="lead"),
            tiles(run, result),
        ]
    )


def caveats(run: Run) -> Markup:
    """Return what is doubtful about the teacher, and so about all that follows; nothing where nothing is."""
    said = [str(one) for one in run.facts.get("caveats") or []]
    return join([paragraph(element("b", "Caution: "), sentence, class_="caution") for sentence in said])


def ending(run: Run) -> str:
    """Return one sentence on when the run was and which rule ended it."""
    started = str(run.facts.get("started") or "at an unknown time")
    ended_by, reason = run.facts.get("ended_by"), str(run.facts.get("ended_reason") or "").rstrip(".")
    if ended_by is None:
        return f"Started {started}; it has not ended, or was killed.{_last_epoch(run)}"
    how = ENDINGS.get(str(ended_by), f"ended by {str(ended_by).replace('_', ' ')}")
    cut = str(run.facts.get("conclusion_cut") or "")
    missing = f" {cut[0].upper()}{cut[1:]}: some test figures are missing." if cut else ""
    return f"Started {started}; it {how}{f' ({reason})' if reason else ''}.{missing}"


def _last_epoch(run: Run) -> str:
    """Return when the run last told of an epoch, by the clocks of its workers; "" if it never did."""
    table = run.history.table
    told = table.column("time").to_pylist() if "time" in table.column_names else []
    last = max((one for one in told if one is not None and 0 < one < YEAR_9999_S), default=None)
    if last is None:
        return ""
    return time.strftime(" Its last epoch was told %Y-%m-%d %H:%M:%S UTC.", time.gmtime(last))


def sentences(run: Run, result: Summary) -> list[str]:
    """Return the outcome in plain words."""
    counts = result.by_status
    finished = counts.get("finished", 0)
    failed = sum(counts.get(status, 0) for status in ("diverged", "collapsed", "oom", "crashed"))
    others = [
        (counts.get("stopped", 0), "stopped early"),
        (counts.get("rejected", 0), "rejected before training"),
        (failed, "failed"),
        (counts.get("running", 0), "not trained to the end"),
    ]
    rest = ", ".join(f"{num} {word}" for num, word in others if num)
    tried = wording.plural(result.tried, "candidate")
    words: list[str] = [
        f"{tried} tried: {finished} trained to the last epoch{', ' + rest if rest else ''}. "
        if result.tried
        else "No candidate has been tried yet. "
    ]
    if not finished:
        return [*words, "No student is finished yet, so there is no front. "]
    half, small = (result.smaller.get(share) for share in HEADLINE_SHARES)
    if half is not None and half is small:
        words += _best_sentence(run, half, HEADLINE_SHARES[1])
    else:
        for share, student in zip(HEADLINE_SHARES, (half, small), strict=True):
            words += _best_sentence(run, student, share)
    if result.epochs_saved:
        words.append(
            f"Stopping early saved {wording.percent(result.saved_share)} of the training "
            f"({result.epochs_saved} of {result.epochs_saved + result.epochs_trained} epochs)."
        )
    return words


def tiles(run: Run, result: Summary) -> Markup:
    """Return the figures at a glance."""
    sizes = result.front_sizes
    cells = [
        (str(result.tried), "candidates tried"),
        (str(result.by_status.get("finished", 0)), "trained to the last epoch"),
        (" / ".join(str(size) for size in sizes.values()), "on the fronts: parameters / FLOPs / latency"),
    ]
    for share in HEADLINE_SHARES:
        student = result.smaller.get(share)
        value = (
            wording.number(student.value(run.quality)) + wording.SPACE + "%"
            if student
            else wording.NOT_MEASURED
        )
        cells.append((value, f"best {wording.label(run.quality)} at {share:g}x of the parameters or fewer"))
    cells.append((wording.percent(result.saved_share), "of the training saved by stopping early"))
    return element("div", *(element("div", element("b", big), element("span", small), class_="tile") for big,
    small in cells),
                   class_="tiles")  # fmt: skip


def resume_command(run: Run) -> str:
    """Return the command that goes on with an interrupted run or extends an ended one."""
    base = command_line("search/run.py", "--resume", run.folder)
    tried = len(run.candidates)
    if run.facts.get("ended_by") in ("trials", "exhausted"):
        return f"{base} --trials {tried + max(tried // 2, 8)}"
    more = str(run.facts.get("resume_with") or "")  # what the rule that ended it asks for
    return f"{base} {more}" if more else base


def _best_sentence(run: Run, student: Trial | None, share: float) -> list[str]:
    """Return what the best student of at most `share` of the teacher's parameters reaches."""
    if student is None:
        return [f"No finished student has {share:g}x of the teacher's parameters or fewer. "]
    value = wording.number(student.value(run.quality)) + wording.SPACE + "%"
    test = student.test_metrics[run.quality]
    on_test = f", {wording.number(test)}{wording.SPACE}% on the test set" if math.isfinite(test) else ""
    size = (
        f"{wording.count(student.costs['params'])} parameters, {wording.share(run.share(student, 'params'))}"
    )
    return [
        f"The best student with at most {share:g}x of the teacher's parameters is ",
        code(student.candidate_id),
        f" ({size}): {wording.label(run.quality)} {value} in validation{on_test}"
        f"{' (see the caution above)' if run.facts.get('caveats') else ''}. ",
    ]
