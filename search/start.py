"""From what a user asks for to a session: load and check all of it, then print the plan or search."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from spaces.commands import command_line
from spaces.errors import SpaceError, StorageError, StudentSearchError
from spaces.load import Override, read_draft
from spaces.schema import Space

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command line asks for.

    Attributes:
        space: the space file of a new run.
        changes: fields of the space that flags set, later ones winning over the file.
        said: sentences about the changes, for the plan.
        resume: the run to go on with; None begins one.
        out: folder of a new run; None for runs/NAME, runs/NAME-2, ...
        warm_start: earlier runs to learn from.
        address: of a running cluster; None starts Ray on this machine.
        always_train: run even one worker through Ray Train.
        dry_run: print the plan and stop.
    """

    space: Path
    changes: Sequence[str | Override] = ()
    said: Sequence[str] = ()
    resume: Path | None = None
    out: Path | None = None
    warm_start: Sequence[Path] = ()
    address: str | None = None
    always_train: bool = False
    dry_run: bool = False


def start(request: Request, *, say: Say) -> int:
    """Load, check and run; return the exit code.

    Raises:
        StudentSearchError: whatever the user has to mend.
    """
    started = time.monotonic()
    inputs, earlier = load(request, say=say)
    if request.dry_run:
        from search.reporting.plan import plan_lines

        for line in plan_lines(inputs):
            print(line)
        return 0
    outcome = run_session(request, inputs, earlier, stream=sys.stderr, say=say)
    go_on = command_line("search/run.py", "--resume", outcome.folder)
    say(f"{time.monotonic() - started:.0f} s in all")
    print(f"report: {outcome.report}")
    if outcome.code == 1 and outcome.ending.ended_by != "failures":  # that is told already, with its reason
        say("no candidate was trained to the end; the report says why")
    if outcome.cut:
        say(outcome.cut)
    elif outcome.code > 1:
        say(f"interrupted; go on with: {go_on}")
    if outcome.ending.more:
        say(f"go on with: {go_on} {outcome.ending.more}")
    return int(outcome.code)


def load(request: Request, *, say: Say) -> tuple[Any, Any]:
    """Return what a search works with (`Inputs`), and what earlier runs have measured; both checked, and told.

    Raises:
        StudentSearchError: whatever the user has to mend.
    """
    space, told = chosen_space(request, say=say)
    told = [*told, *place_problems(request, space, say=say)]
    from search.inputs.inputs import Inputs
    from search.reporting.plan import describe

    inputs = Inputs(space, say=say, told=told)
    space = inputs.space
    say(
        f"space {space.name}: {len(space.domains())} dimensions, {space.search.trials} trials, seed {space.search.seed}"
    )
    if request.resume:
        from search.run_folder.resume import check_same_inputs

        check_same_inputs(request.resume, inputs.fingerprints)
    earlier = read_earlier_runs(request.warm_start, inputs, say=say)
    for line in [*request.said, *describe(inputs)]:
        say(line)
    return inputs, earlier


def check_place(address: str | None, space: Space, *, say: Say) -> None:
    """Look where the trials are to run, before teacher and data are prepared; tell what is unusual there.

    Raises:
        ResourceError: this machine does not hold a trial or Ray itself, or there is no cluster at the address.
    """
    from search.tune.machine import check_machine, ray_runs_here

    if ray_runs_here():
        return  # `cluster` asks that one
    if address is not None:
        from search.tune.address import check_address

        check_address(address)
        return
    asked = space.resources
    for line in check_machine(
        workers=asked.workers_per_trial, cpus=asked.cpus_per_worker, gpus=asked.gpus_per_worker
    ):
        say(line)


def chosen_space(request: Request, *, say: Say) -> tuple[Space, Sequence[str]]:
    """Return the space of a file or of the run to resume, with the changes of the command line, and what is wrong with it.

    Raises:
        StudentSearchError: nothing can be made of it.
    """
    if request.resume:
        from search.run_folder.facts import read_space
        from search.run_folder.resume import check_resumable

        check_resumable(request.resume)
        return read_space(request.resume, request.changes), ()
    draft = read_draft(request.space, request.changes)
    if draft.space is None:
        raise SpaceError([*draft.problems, *place_problems(request, None, say=say)])
    return draft.space, draft.problems


def place_problems(request: Request, space: Space | None, *, say: Say) -> list[str]:
    """Return what is wrong with where a run is to lie and to train, before all that takes long."""
    checks: list[Callable[[], None]] = []
    if request.out is not None and request.resume is None:
        from search.run_folder.facts import check_out

        checks.append(partial(check_out, request.out))
    if space is not None and not request.dry_run and not space.is_doubtful("resources", inside=True):
        checks.append(partial(check_place, request.address, space, say=say))
    problems = []
    for check in checks:
        try:
            check()
        except StudentSearchError as error:
            problems.append(str(error))
    return problems


def read_earlier_runs(folders: Sequence[Path], inputs: Any, *, say: Say) -> Any:
    """Return what the runs of --warm-start have measured, None without the flag; say how much that is.

    Raises:
        RunError: no run, or one of another space, teacher or data.
    """
    if not folders:
        return None
    from search.candidates.warm_start import read_runs

    earlier = read_runs(folders, inputs)
    for source in earlier.sources:
        counts = (
            f"learns from {source['imported']} trained candidates, {source['finished']} of them finished; "
            f"{source['first']} on the fronts are trained first"
        )
        say(
            f"warm start from {source['run']} ({source['started']}): {counts if source['imported'] else 'holds no result'}"
        )
    return earlier


def run_session(
    request: Request,
    inputs: Any,
    earlier: Any,
    *,
    stream: TextIO | None,
    say: Say,
    callbacks: Sequence[Any] = (),
) -> Any:
    """Run a session in its folder; return its `Outcome`.

    Args:
        request: what is asked for.
        inputs: as `load` gave them.
        earlier: as `load` gave it.
        stream: for the progress line.
        say: takes a line for the user.
        callbacks: of Ray Tune, the user's own.

    Raises:
        StudentSearchError: whatever the user has to mend.
    """
    from analysis.run_folder import FACTS_FILE
    from search.run_folder.facts import SPACE_FILE, discard_untrained, new_folder
    from search.session import Options, Session

    folder = request.resume or new_folder(inputs.space.name, request.out)
    say(f"run folder: {folder}")
    typed = list(dict.fromkeys(getattr(change, "flag", change) for change in request.changes))
    options = Options(
        address=request.address,
        always_train=request.always_train,
        resume=request.resume is not None,
        stream=stream,
        notes={"from the command line": [*typed, *request.said]} if typed else {},
        earlier=earlier,
        callbacks=callbacks,
    )
    try:
        return Session(inputs, folder, options, say=say).run()
    except StorageError as error:
        if not (folder / SPACE_FILE).exists() or not (folder / FACTS_FILE).exists():
            discard_untrained(folder)  # nothing to go on with
            raise
        raise StorageError(
            f"{error} All that was kept so far stays; candidates in training are unfinished, not failed. "
            f"Then go on with: {command_line('search/run.py', '--resume', folder)}"
        ) from error
    except StudentSearchError:
        if request.resume is None:
            discard_untrained(folder)
        raise
