"""The teachers' signals that trials of a space may need, computed once for all of them."""

from pathlib import Path

from search.inputs.checks import loss_configs
from search.inputs.inputs import Inputs
from search.inputs.students import words
from trainables.datasets.cache_folder import cache_folder
from trainables.families.base import Blueprint
from trainables.losses.base import Ends, pair_lack, source_lack
from trainables.share import within_share
from trainables.signals import Want, Wants
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.cache.layout import cache_key


def fill_teacher_caches(inputs: Inputs) -> dict[str, str]:
    """Compute the teachers' signals on the training examples where they are missing; return teacher -> folder, {} if live."""
    settings = inputs.space.teacher_cache
    if settings.kind == "live":
        return {}
    with within_share():
        return {name: str(_fill(inputs, name)) for name in inputs.teachers}


def _fill(inputs: Inputs, name: str) -> Path:
    teacher, precision = inputs.teachers[name], inputs.space.teacher_cache.precision
    split = inputs.split("train", name)
    folder = cache_folder("teacher-outputs") / cache_key(
        teacher, inputs.dataset.fingerprint, precision, split
    )
    wants = teacher_wants(inputs, name)
    build_cache(folder, teacher, split, wants, precision=precision, progress=inputs.say)
    return folder


def teacher_wants(inputs: Inputs, name: str) -> Wants:
    """Return every signal of a teacher that some student of the space may need.

    Asked of the offers of all sizes that the space can produce, or of many of them: what a student needs beyond that, it
    gets from a live teacher.
    """
    source = inputs.teachers[name].offers
    unfed = inputs.left_out_of({"teacher": name})
    configs = [one for one in loss_configs(inputs.space) if one[0] not in unfed]
    wants: set[Want] = set()
    asked: dict[tuple[object, ...], tuple[Blueprint, Wants]] = {}
    for blueprint in inputs.students.variants(inputs.space, name):
        said: set[Want] = set()
        for loss, kind, config in configs:
            ends = Ends(name=loss, student=blueprint.offers, source=source)
            needs = kind.needs_of(config, ends)
            if source_lack(needs, ends) is None and pair_lack(kind, config, ends) is None:
                wants |= needs.source
                said |= needs.student
        outputs = frozenset((want.mode, want.what) for want in said)
        asked.setdefault((words(blueprint.to_dict()), outputs), (blueprint, frozenset(said)))
    for blueprint, known in asked.values():  # what the models themselves read of their teacher
        wants |= (
            blueprint.on_meta().inputs(known).source
        )  # a tenth of a second each, so not one for every depth
    return frozenset(want for want in wants if want in source)
