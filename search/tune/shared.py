"""What every node of a cluster must see: run folder, storage, data and teachers, looked at on each before work begins there."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from search.inputs.inputs import Inputs
from search.inputs.places import PATH_OPTIONS, copied_parts, copied_teacher, files_of_students
from search.tune import cluster
from search.tune.machine import check_compiled
from search.tune.tasks import Say, Tasks
from spaces.errors import ResourceError, StorageError
from spaces.files import write_text
from spaces.paths import listed, settled
from trainables.datasets.cache_folder import storage
from trainables.datasets.node_copies import FLAG, node_copies, usable
from trainables.teachers import TEACHERS
from trainables.teachers.naming import checkpoints_of
from trainables.training.job import Job

UNSEEN = "do not see it"
MARK = ".seen-"  # begins the names of files that are there for a moment


@contextmanager
def at_work(inputs: Inputs, address: str | None, *, say: Say) -> Iterator[None]:
    """Be part of a cluster, and let it do what takes long, until the block ends.

    Args:
        inputs: of the search; they learn where work is done, and get copies of teachers that some node does not see.
        address: of the cluster; None for the one that this process has joined already.
        say: takes a line for the user.

    Raises:
        ResourceError: there is no such cluster, it cannot hold a trial, or a node does not see storage or data.
    """
    with cluster.joined(address):
        check_seen({"--storage": Path(storage())} if storage() else {})
        check_copies()
        _check_data(inputs.dataset_settings)
        for file in files_of_students(inputs.space):
            if blind := unseen([file]):
                raise ResourceError(
                    f"student.pretrained {file}: the nodes {', '.join(blind)} do not see it. Put it on storage that every node "
                    "mounts at the same path, and name it there."
                )
        _share_teachers(inputs, say)
        asked = inputs.space.resources
        takes = cluster.resources(
            workers=asked.workers_per_trial, cpus=asked.cpus_per_worker, gpus=asked.gpus
        )
        check_compiled(inputs.space, takes.gpus)
        inputs.elsewhere = Tasks(takes, say=say)
        try:
            yield
        finally:
            inputs.elsewhere = None


def has_nodes() -> bool:
    """Return whether the Ray of this process has several nodes."""
    return len(_nodes()) > 1


def check_seen(folders: Mapping[str, Path]) -> None:
    """Refuse folders that some node does not see, or may not write to.

    Args:
        folders: by the flag that names another one.

    Raises:
        ResourceError: names the folder, the nodes and what hinders them.
    """
    if not has_nodes():
        return
    for flag, folder in folders.items():
        token = secrets.token_hex(8)
        mark = folder / f"{MARK}{token}"
        try:
            write_text(mark, token)
        except StorageError:  # it can only be read: that it is the same one, its number has to tell
            mark = folder
        try:
            told = _look_everywhere(str(mark), token if mark != folder else str(folder.stat().st_ino))
        finally:
            if mark != folder:
                mark.unlink(missing_ok=True)
        remedy = f"give such a folder with {flag}" if flag.startswith("--") else "move it there"
        for why in sorted(set(told.values())):
            nodes = ", ".join(node for node, said in told.items() if said == why)
            raise ResourceError(
                f"{flag} {folder}: the nodes {nodes} {why}. Runs, and what is prepared for them, must lie on storage that every "
                f"node mounts at the same path and may write to: {remedy} (this machine is {ray.util.get_node_ip_address()})."
            )


def check_run(folder: Path, jobs: Sequence[Job]) -> None:
    """Refuse a run whose folder, storage, data or teacher some node does not see.

    Raises:
        ResourceError: names the path and the nodes.
    """
    check_seen({"run folder": folder} | ({"--storage": Path(storage())} if storage() else {}))
    for settings in {str(job.dataset): job.dataset for job in jobs}.values():
        _check_data(settings)
    for place in {one for job in jobs for one in checkpoints_of(job.teacher)} - TEACHERS.keys():
        if Path(place).exists() and (blind := unseen([place])):
            raise ResourceError(
                f"teacher {place}: the nodes {', '.join(blind)} do not see it. Put it on storage that every node mounts at the "
                "same path, and tell the run where it lies: search/run.py --resume RUN --teacher FOLDER."
            )


def _check_data(settings: Mapping[str, Any]) -> None:
    """Refuse data that some node does not see.

    Raises:
        ResourceError: names option, path and nodes.
    """
    for name in PATH_OPTIONS:
        for path in listed(settings.get(name)):
            if not (blind := unseen([path])):
                continue
            raise ResourceError(
                f"dataset.{name} {path}: the nodes {', '.join(blind)} do not see it; trials read the data where they "
                "run. Put it on storage that every node mounts at the same path, and name it there."
            )


def _share_teachers(inputs: Inputs, say: Say) -> None:
    """Copy into the storage what some node does not see of the teachers; those that come with the project travel with it."""
    for name, teacher in inputs.teachers.items():
        files = teacher.files
        if inputs.teacher_path(name) in TEACHERS or not storage():
            continue
        named, folder = inputs.teacher_path(name), settled(files.folder)
        here = [one for one in checkpoints_of(named) if Path(one).exists()]
        if (named,) == checkpoints_of(named) and not Path(named).is_file():
            # a hub id is looked up in each node's own home
            if unseen([str(folder)]) or (named != str(folder) and has_nodes()):
                inputs.copies[name] = str(copied_teacher(name, folder, files.fingerprint, say=say))
        elif unseen(here) or (len(here) < len(checkpoints_of(named)) and has_nodes()):
            inputs.copies[name] = copied_parts(named, files.fingerprint, say=say)


def unseen(paths: Sequence[str]) -> list[str]:
    """Return the nodes that do not see all of some paths."""
    return [node for path in paths for node, why in _look_everywhere(path, "").items() if why]


def check_copies() -> None:
    """Refuse a folder for copies in which some node cannot keep any.

    Raises:
        ResourceError: names the folder, the nodes, what hinders them, and what to do.
    """
    folder = node_copies()
    if not folder:
        return
    told = (
        _asked_everywhere(usable, folder) if ray.is_initialized() else {os.uname().nodename: usable(folder)}
    )
    for why in sorted({one for one in told.values() if one}):
        nodes = ", ".join(node for node, said in told.items() if said == why)
        raise ResourceError(
            f"{FLAG} {folder}: the nodes {nodes} cannot keep copies there: {why} Name a folder that lies on a disk of every node "
            f"and that you may write to: {FLAG} DIR; or leave it out: trials then read the storage."
        )


def _look_everywhere(path: str, token: str) -> dict[str, str]:
    """Return node -> what hinders it at a path, of those where something does; a node that leaves meanwhile is none."""
    return (
        {node: why for node, why in _asked_everywhere(look, path, token).items() if why}
        if has_nodes()
        else {}
    )


def _asked_everywhere(question: Callable[..., str], *arguments: str) -> dict[str, str]:
    """Return node -> what a function returns there; without a node that leaves meanwhile.

    Nodes of one address, as of several containers of a machine, are told together: whatever hinders one of them counts.
    """
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    remote: Any = ray.remote(num_cpus=0, max_retries=1)(question)
    asked = [
        (node, remote.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(*arguments))
        for node in _nodes()
    ]
    found: dict[str, str] = {}
    for node, reference in asked:
        try:
            said = ray.get(reference)
        except RayError:
            if node["NodeID"] in {one["NodeID"] for one in _nodes()}:
                raise
            continue
        address = node["NodeManagerAddress"]
        found[address] = found.get(address) or said
    return found


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def look(path: str, token: str) -> str:
    """Return what hinders this node at a path, "" where nothing does.

    Args:
        path: a mark in a folder that is to be written; or any path that is to be read.
        token: what the mark holds; the number of the folder where no mark could be written; "" of what is to be read.
    """
    here = Path(path)
    if not here.exists():
        return UNSEEN
    if not token:
        return ""
    if not here.name.startswith(MARK):
        return "" if str(here.stat().st_ino) == token else "see another folder there"
    own = here.with_name(f"{here.name}-{os.getpid()}")
    try:
        if here.read_text(encoding="utf-8") != token:
            return "see another folder there"
        write_text(own, token)
        own.unlink()
    except (OSError, StorageError) as error:
        return f"cannot write there ({error})"
    return ""
