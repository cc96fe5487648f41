"""Filling one part of a teacher cache anywhere: all that it needs stands in an order, which is JSON and travels to any node."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spaces.errors import TeacherError
from trainables.share import one_thread
from trainables.teachers.cache.contents import check_parts, read_contents
from trainables.teachers.cache.layout import key_parts, stored_as
from trainables.teachers.cache.passes import fill_part
from trainables.teachers.cache.plan import Part, passes_on
from trainables.training.build import shared_dataset, shared_split, shared_teacher


def cache_order(part: Part, *, teacher: str, dataset: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return the order to fill a part; `fill_ordered` takes it, in another process or on another node, more than once too.

    Args:
        part: of a plan; its folder is one that every node sees.
        teacher: name, folder or hub id, as that node finds it.
        dataset: `{"kind": ..., options}`, its paths from the root.
        split: name of the split.
    """
    return {"part": part.to_dict(), "teacher": teacher, "dataset": dict(dataset), "split": split}


def fill_ordered(order: Mapping[str, Any], device: str = "cpu") -> int:
    """Fill the part of an order and return how many rows that were; teacher and data are kept for the next one.

    Args:
        order: of `cache_order`.
        device: `cpu`, with one thread, or `cuda`, in autocast: the plan must say the same of its passes.

    Raises:
        TeacherError: this node does not see the folder, or has another teacher or other data than the plan: names what differs.
        StorageError: the part cannot be written.
    """
    part = Part.from_dict(order["part"])
    try:
        contents = read_contents(Path(part.folder))
    except TeacherError as error:
        raise TeacherError(
            f"on {socket.gethostname()}: {error} Where the folder lies on a disk of another node alone, name a place that "
            "every node sees."
        ) from error
    teacher = shared_teacher(order["teacher"], device)
    split = shared_split(order["teacher"], device, order["dataset"], order["split"])
    data = shared_dataset(order["dataset"]).fingerprint if contents.parts.get("data") else ""
    mine = key_parts(teacher, data, stored_as(part), split, passes=passes_on(torch.device(device)))
    check_parts(Path(part.folder), contents.parts, mine)
    with one_thread():
        fill_part(part, teacher, split, lambda count: None)
    return part.num_rows
