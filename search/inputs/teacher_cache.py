"""The teachers' signals that trials of a space may need, computed once for all of them.

Those of the train split are what students learn from. Those of a held-out split are what students that read their teacher are
evaluated from, always in float32: their figures are to be those of the student with its live teacher.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from search.inputs.checks import loss_configs
from search.inputs.inputs import Inputs
from search.inputs.students import words
from spaces.errors import SpaceError
from trainables.datasets.cache_folder import cache_folder
from trainables.families.base import Blueprint
from trainables.losses.base import Ends, pair_lack, source_lack
from trainables.share import usable_cores, within_share
from trainables.signals import Want, Wants
from trainables.tasks.base import taught_of, wants_of
from trainables.tasks.evaluation import reads_bank
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.largest import num_kept
from trainables.teachers.cache.layout import META, key_of, key_parts, stored_as
from trainables.teachers.cache.passes import Tick
from trainables.teachers.cache.plan import Kept, Part, passes_on
from trainables.teachers.cache.read import TeacherCache
from trainables.training.cache_part import cache_order, fill_ordered
from trainables.training.sources import Sources, opened_cache

HELD_OUT = Kept(precision="float32")


def fill_teacher_caches(inputs: Inputs) -> dict[str, str]:
    """Compute the teachers' signals on the training examples where they are missing; return teacher -> folder, {} if live.

    Where the trials are to run, with what they take; else on this machine, on its GPU or with a process for each core.
    """
    settings = inputs.space.teacher_cache
    if settings.kind == "live":
        return {}
    inputs.take_temperatures(measure=True)  # which are among what is cached
    with within_share():
        return {name: str(_fill(inputs, name)) for name in inputs.teachers}


def fill_evaluation_caches(inputs: Inputs) -> dict[str, str]:
    """Compute what students are evaluated from on the validation split; return teacher -> folder.

    Without teachers of which no student of the space reads anything, and {} where teachers are live.
    """
    if inputs.space.teacher_cache.kind == "live":
        return {}
    with within_share():
        found = {name: _fill_held_out(inputs, name, "val") for name in inputs.teachers}
    return {name: str(folder) for name, folder in found.items() if folder is not None}


def evaluation_source(inputs: Inputs, name: str, split: str) -> Sources:
    """Return a teacher as its students read it while they are evaluated: from what is cached, else live.

    Args:
        inputs: teachers, data and students.
        name: of the teacher.
        split: a held-out one, whose cache is filled now if there is none yet.
    """
    teacher, caches = inputs.teachers[name], dict[str, TeacherCache]()
    if inputs.space.teacher_cache.kind == "cached" and (wants := evaluated_wants(inputs, name)):
        folder = _fill_held_out(inputs, name, split)
        train = _folder(inputs, name, "train", _stored(inputs))
        found = {split: folder, "train": train if (train / META).is_file() else None}
        opened = {one: opened_cache(str(path), teacher) for one, path in found.items() if path is not None}
        caches = {one: cache for one, cache in opened.items() if cache.holds(wants)}
    return Sources(teacher, caches)


def evaluated_wants(inputs: Inputs, name: str) -> Wants:
    """Return every signal of a teacher that some student of the space reads while it does the tasks, and these themselves."""
    source, said = inputs.teachers[name].offers, wants_of(inputs.students.made.values())
    asked: dict[tuple[tuple[str, ...], Wants], Blueprint] = {}
    for blueprint in inputs.students.variants(inputs.space, name):
        asked.setdefault((words(blueprint.to_dict()), said & frozenset(blueprint.offers)), blueprint)
    read = [blueprint.on_meta().inputs(wants).source for (_, wants), blueprint in asked.items()]
    return frozenset[Want]().union(*read, taught_of(inputs.students.made.values())) & frozenset(source)


def _fill_held_out(inputs: Inputs, name: str, split: str) -> Path | None:
    """Compute what students read of a teacher on a held-out split; return the folder, None where they read nothing."""
    wants = evaluated_wants(inputs, name)
    return _filled(inputs, name, split, wants, HELD_OUT) if wants else None


def _fill(inputs: Inputs, name: str) -> Path:
    wants, whole = _needed(inputs, name)
    if reads_bank(inputs.students.made.values()):
        wants |= (bank := evaluated_wants(inputs, name))
        whole |= bank
    how, offers = _stored(inputs), inputs.teachers[name].offers
    if lacking := sorted(str(want) for want in whole if num_kept(offers[want], how.top_k)):
        raise SpaceError(
            [
                f"{inputs.space.place('teacher_cache.top_k')}: got {how.top_k}; {', '.join(lacking)} of the teacher {name} is "
                "read whole by a loss, a task or a student of this space. Leave top_k out."
            ]
        )
    return _filled(inputs, name, "train", wants, how)


def _stored(inputs: Inputs) -> Kept:
    """Return how signals on the training examples are stored."""
    how = inputs.space.teacher_cache
    return Kept(precision=how.precision, top_k=how.top_k)


def _filled(inputs: Inputs, name: str, split: str, wants: Wants, how: Kept) -> Path:
    """Compute signals of a teacher on a split where they are missing; return the folder."""
    teacher, folder, device = inputs.teachers[name], _folder(inputs, name, split, how), _device(inputs)
    kept = replace(
        how,
        data=inputs.dataset.fingerprint,
        passes=passes_on(device),
        told={"teacher": name, "data": inputs.space.dataset.kind, "split": split},
    )

    def on_cluster(parts: Sequence[Part], tick: Tick) -> None:
        assert inputs.elsewhere is not None
        place, data = inputs.trial_teacher(name), inputs.dataset_settings
        orders = [cache_order(part, teacher=place, dataset=data, split=split) for part in parts]
        work = [(order, device.type) for order in orders]
        for done in inputs.elsewhere.run_all(fill_ordered, work, single=True):
            tick(done.result())

    run = on_cluster if inputs.elsewhere is not None else None
    filling = Filling(say=inputs.say, workers=usable_cores(), device=device, run=run)
    fill_cache(folder, teacher, inputs.split(split, name), wants, kept, filling)
    return folder


def _folder(inputs: Inputs, name: str, split: str, how: Kept) -> Path:
    """Return where a teacher's signals on a split are kept."""
    passes = passes_on(_device(inputs))
    teacher, encoded = inputs.teachers[name], inputs.split(split, name)
    parts = key_parts(teacher, inputs.dataset.fingerprint, stored_as(how), encoded, passes=passes)
    return cache_folder("teacher-outputs") / key_of(parts)


def _device(inputs: Inputs) -> torch.device:
    """Return what the teachers are asked on: on a GPU where the trials have one."""
    if inputs.elsewhere is not None:
        return torch.device("cuda" if inputs.elsewhere.gpus else "cpu")
    return torch.device("cuda" if inputs.space.resources.gpus != 0 and torch.cuda.is_available() else "cpu")


def teacher_wants(inputs: Inputs, name: str) -> Wants:
    """Return every signal of a teacher that some student of the space may need.

    Asked of the offers of all sizes that the space can produce, or of many of them: what a student needs beyond that, it
    gets from a live teacher.
    """
    return _needed(inputs, name)[0]


def _needed(inputs: Inputs, name: str) -> tuple[Wants, Wants]:
    """Return the signals of `teacher_wants`, and those of them that somebody reads whole."""
    source = inputs.teachers[name].offers
    unfed = inputs.left_out_of({"teacher": name})
    configs = [one for one in loss_configs(inputs.space) if one[0] not in unfed]
    wants, whole = set[Want](), set[Want]()
    asked: dict[tuple[object, ...], tuple[Blueprint, Wants]] = {}
    for blueprint in inputs.students.variants(inputs.space, name):
        said: set[Want] = set()
        for loss, kind, config in configs:
            ends = Ends(name=loss, student=blueprint.offers, source=source)
            needs = kind.needs_of(config, ends)
            if source_lack(needs, ends) is None and pair_lack(kind, config, ends) is None:
                wants |= needs.source
                whole |= needs.source - needs.shortened
                said |= needs.student
        outputs = frozenset((want.mode, want.what) for want in said)
        asked.setdefault((words(blueprint.to_dict()), outputs), (blueprint, frozenset(said)))
    for blueprint, known in asked.values():  # what the models themselves read of their teacher
        # a tenth of a second each, so not one for every depth
        whole |= blueprint.on_meta().inputs(known).source
    found = wants | whole
    return frozenset(found & source.keys()), frozenset(whole & source.keys())
