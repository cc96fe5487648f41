"""From what a user asks for to a session: load and check all of it, then print the plan or search."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from spaces.commands import command_line
from spaces.errors import SpaceError, StorageError, StudentSearchError
from spaces.files import refusal
from spaces.interruption import shielded
from spaces.load import Override, read_draft
from spaces.schema import Space
from spaces.target import LatencySection

if TYPE_CHECKING:
    from search.reporting.json_lines import JsonLines

Say = Callable[[str], None]
Soon = Callable[[Sequence[str]], None]
"""Takes what is wrong with a space file alone, known at once; what else is wrong takes seconds to find."""


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
        storage: folder of all that is derived of teacher and data; None for `places.chosen_storage`'s choice.
        node_copies: folder in which each node keeps copies of caches; None for `places.chosen_copies`'s choice.
        retry_failed: of the run to go on with, train again what crashed or ran out of memory.
        events: tells a program that has started this one; None has the report's place printed instead.
        command: what asked for it, for the run's record; "" for the command of this process.
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
    storage: Path | None = None
    node_copies: Path | None = None
    retry_failed: bool = False
    events: "JsonLines | None" = None
    command: str = ""


def start(request: Request, *, say: Say, soon: Soon) -> int:
    """Load, check and run; return the exit code.

    Raises:
        StudentSearchError: whatever the user has to mend, with what `soon` got.
    """
    started = time.monotonic()
    with resumed_alone(request, say=say), stored(request, say=say):
        inputs, earlier = load(request, say=say, soon=soon)
        if request.dry_run:
            from search.inputs.gathering import is_planned
            from search.latency.opening import measuring
            from search.reporting.plan import plan_lines

            sizes = inputs.space.plan is not None or is_planned(inputs.dataset, inputs.teachers.values())
            with nullcontext() if sizes or _on_cluster(request) else measuring(inputs, request.resume):
                _describe(request, inputs, measure=not sizes and inputs.is_soon_measured(), say=say)
                for line in plan_lines(inputs):
                    print(line)
            return 0
        outcome = run_session(request, inputs, earlier, stream=sys.stderr, say=say)
    go_on = command_line("search/run.py", "--resume", outcome.folder)
    say(f"{time.monotonic() - started:.0f} s in all")
    if request.events is None:
        print(f"report: {outcome.report}")
    else:
        from search.reporting.json_lines import end_fields

        request.events.tell("end", end_fields(outcome, time.monotonic() - started))
    if outcome.code == 1 and outcome.ending.ended_by != "failures":  # that is told already, with its reason
        say("no candidate was trained to the end; the report says why")
    if outcome.cut:
        say(outcome.cut)
    elif outcome.code > 1:
        say(f"interrupted; go on with: {go_on}")
    if outcome.ending.more:
        say(f"go on with: {go_on} {outcome.ending.more}")
    return int(outcome.code)


@contextmanager
def resumed_alone(request: Request, *, say: Say) -> Iterator[None]:
    """Own the run to resume, from before it is read until the session is over; for a new run or a dry run do nothing.

    Raises:
        RunError: the folder is no run, or another process works in it.
        ResourceError: nothing can be written there.
    """
    if request.resume is None or request.dry_run:
        yield
        return
    from search.run_folder.resume import check_resumable
    from spaces.owner import owned

    check_resumable(request.resume)
    with owned(request.resume, say=say):
        try:
            yield
        except KeyboardInterrupt as error:
            error.add_note(_goes_on(request.resume))
            raise


def stored(request: Request, *, say: Say) -> AbstractContextManager[None]:
    """Return a block in which all that is derived of teacher and data lies where a request says, see `places.stored`."""
    from search.inputs import places
    from search.run_folder.facts import read_facts
    from search.run_folder.new_folder import RUNS

    lies = request.resume or request.out
    runs = (lies.absolute().parent if lies else RUNS) if _on_cluster(request) else None
    kept = str(read_facts(request.resume).get("storage") or "") if request.resume else ""
    return places.stored(request.storage, kept=kept, runs=runs, copies=request.node_copies, say=say)


def _on_cluster(request: Request) -> bool:
    """Return whether the trials run on a cluster, which may have nodes that see other folders than this machine."""
    from search.tune.machine import ray_runs_here

    if request.address is not None or not ray_runs_here():
        return request.address is not None
    from search.tune.shared import has_nodes

    return has_nodes()


def _has_gpus(inputs: Any) -> bool:
    """Return whether the trials of a search on this machine have GPUs: then all that is long has them, too."""
    if inputs.space.resources.gpus == 0:
        return False
    import torch

    return torch.cuda.is_available()


def _describe(request: Request, inputs: Any, *, measure: bool, say: Say) -> None:
    """Tell the facts that decide a run's results; measuring the teacher, where that was not done before, takes a while."""
    from search.reporting.plan import describe

    for line in [*request.said, *describe(inputs, measure=measure)]:
        say(line)


def load(request: Request, *, say: Say, soon: Soon | None = None) -> tuple[Any, Any]:
    """Return what a search works with (`Inputs`), and what earlier runs have measured; both checked, and told.

    Raises:
        StudentSearchError: whatever the user has to mend, with what `soon` got.
    """
    space, places, told = chosen_space(request, say=say)
    if told and soon:
        soon(told)
    told = [*told, *place_problems(request, space, say=say)]
    from search.inputs.inputs import Inputs
    from search.reporting.recipe import workers_changed
    from search.run_folder.resume import check_same_inputs

    agree = partial(check_same_inputs, request.resume) if request.resume else None
    inputs = Inputs(space, say=say, told=told, places=places, agree=agree, planned=request.dry_run)
    space = inputs.space
    say(
        f"space {space.name}: {len(space.domains())} dimensions, {space.search.trials} trials, seed {space.search.seed}"
    )
    for line in workers_changed(request.resume, space) if request.resume else ():
        say(line)
    if not request.warm_start:
        return inputs, None
    from search.candidates.warm_start import read_told

    inputs.take_temperatures(measure=True)  # by which teachers are told apart
    return inputs, read_told(request.warm_start, inputs)


def check_place(address: str | None, space: Space, *, say: Say) -> None:
    """Look where the trials are to run, before teacher and data are prepared; tell what is unusual there.

    Raises:
        ResourceError: this machine does not hold a trial or Ray itself, or there is no cluster at the address.
    """
    from search.tune.machine import check_compiled, check_machine, ray_runs_here

    if ray_runs_here():
        return  # `cluster` asks that one
    if address is not None:
        from search.tune.address import check_address

        check_address(address)
        return
    asked = space.resources
    for line in check_machine(workers=asked.workers_per_trial, cpus=asked.cpus_per_worker, gpus=asked.gpus):
        say(line)
    check_compiled(space)


def chosen_space(request: Request, *, say: Say) -> tuple[Space, Mapping[str, str], Sequence[str]]:
    """Return the space of a file or of the run to resume, with the changes of the command line; the places of its teachers, where
    it has several; and what is wrong with it.

    Paths in it are from the root, so that a resume finds them from any folder.

    Raises:
        StudentSearchError: nothing can be made of it.
    """
    from search.inputs.places import settled_space

    if request.resume is None:
        draft = read_draft(request.space, request.changes)
        if draft.space is None:
            raise SpaceError([*draft.problems, *place_problems(request, None, say=say)])
        return settled_space(draft.space), {}, draft.problems
    from search.run_folder.facts import read_space
    from search.run_folder.resume import check_in_place, check_resumable, moved

    check_resumable(request.resume)
    change = moved(request.resume, request.changes)
    space = settled_space(read_space(request.resume, change.changes))
    dataset = {"kind": space.dataset.kind, **space.dataset.options}
    check_in_place(request.resume, dataset, [change.places.get(name, name) for name in space.teachers])
    return space, change.places, ()


def place_problems(request: Request, space: Space | None, *, say: Say) -> list[str]:
    """Return what is wrong with where a run is to lie and to train, before all that takes long."""
    checks: list[Callable[[], None]] = []
    if request.resume is None and (request.out is not None or not request.dry_run):
        from search.run_folder.new_folder import check_out

        checks.append(partial(check_out, request.out, say=say))
    if space is not None and not space.is_doubtful("resources", inside=True):
        if not request.dry_run:
            checks.append(partial(check_place, request.address, space, say=say))
        if space.latency != LatencySection() and not space.is_doubtful("latency", inside=True):
            from search.latency.target import check_target

            elsewhere = _on_cluster(request) or (request.dry_run and space.plan is not None)
            checks.append(partial(check_target, space, here=not elsewhere))
    problems = []
    for check in checks:
        try:
            check()
        except StudentSearchError as error:
            problems.append(str(error))
    return problems


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
    if _on_cluster(request) or _has_gpus(inputs):
        from search.tune.shared import at_work

        working: Any = at_work(inputs, request.address, say=say)
    else:
        working = nullcontext()  # until the trials begin, the machine is for what comes before them
    from search.latency.opening import measuring

    with working, measuring(inputs, request.resume):
        _describe(request, inputs, measure=True, say=say)
        if earlier is not None:
            from search.candidates.warm_start import retargeted

            earlier = retargeted(earlier, inputs)
        return _run_session(request, inputs, earlier, stream=stream, say=say, callbacks=callbacks)


def _run_session(
    request: Request, inputs: Any, earlier: Any, *, stream: TextIO | None, say: Say, callbacks: Sequence[Any]
) -> Any:
    """Run a session in its folder; return its `Outcome`."""
    from search.session import Options, Session

    typed = list(dict.fromkeys(getattr(change, "flag", change) for change in request.changes))
    options = Options(
        address=request.address,
        always_train=request.always_train,
        resume=request.resume is not None,
        stream=stream,
        notes={"from the command line": [*typed, *request.said]} if typed else {},
        earlier=earlier,
        callbacks=callbacks,
        retry_failed=request.retry_failed,
        events=request.events,
        command=request.command,
    )

    def begin(folder: Path) -> None:
        say(f"run folder: {folder}")
        if request.events is not None:
            told = {"folder": str(folder), "space": inputs.space.name, "trials": inputs.space.search.trials}
            request.events.tell("run", {**told, "resumed": request.resume is not None})

    if request.resume is not None:  # `resumed_alone` owns it
        begin(request.resume)
        try:
            return Session(inputs, request.resume, options, say=say).run()
        except StorageError as error:
            raise _unfinished(error, request.resume) from error
    with begun(inputs.space.name, request.out, say=say) as folder:
        begin(folder)
        return Session(inputs, folder, options, say=say).run()


def _unfinished(error: StorageError, folder: Path) -> StorageError:
    """Return a full disk with how the run goes on after it."""
    return StorageError(
        f"{error} All that was kept so far stays; candidates in training are unfinished, not failed. "
        f"Then go on with: {command_line('search/run.py', '--resume', folder)}"
    )


def _goes_on(folder: Path) -> str:
    """Return what is told of a run that was interrupted."""
    return f"what is finished is kept; go on with: {command_line('search/run.py', '--resume', folder)}"


@contextmanager
def begun(name: str, out: Path | None, *, say: Say) -> Iterator[Path]:
    """Make and own the folder of a new run; where an error of any kind comes before the first trial, it goes again.

    An interruption leaves with a note on what became of the folder.

    Raises:
        RunError: `out` holds something, or another process begins a run there.
        StorageError: it cannot be made or written.
    """
    from search.run_folder.new_folder import check_empty, discard_untrained, new_folder, remove_made
    from spaces.owner import owned

    folder = new_folder(name, out, say=say)
    gone = False
    try:
        with owned(folder.path, say=say):
            check_empty(folder.path)  # another process may have had it until now
            try:
                yield folder.path
            except BaseException as error:  # Ctrl-C and a full disk, too
                ended = error
                try:
                    with shielded():
                        gone = discard_untrained(folder)
                except KeyboardInterrupt as again:  # came while it was tidied up
                    ended = again
                except OSError as trouble:  # the error itself must not be lost for it
                    say(f"run folder {folder.path}: cannot be removed: {refusal(folder.path, trouble)}")
                removed = f"run folder {folder.path}: {'removed' if folder.made else 'left empty'}, nothing was trained in it"
                if isinstance(ended, KeyboardInterrupt):
                    ended.add_note(removed if gone else _goes_on(folder.path))
                elif gone and not isinstance(error, StudentSearchError):
                    say(removed)
                if not gone and isinstance(error, StorageError):
                    raise _unfinished(error, folder.path) from error
                if ended is not error:
                    raise ended from error
                raise
    finally:
        if gone:
            remove_made(folder)
