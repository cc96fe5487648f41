"""What families, tasks and losses make of a candidate: absolute sizes, what it can say and do, what it costs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, final

from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate, PluginError, ShapeError, StudentSearchError
from spaces.plugins import resolve
from spaces.schema import Space
from trainables.configs import plain
from trainables.costs.size import tokenizer_bytes
from trainables.costs.subject import Subject, reading, source_of
from trainables.families import FAMILIES
from trainables.families.base import Blueprint, Family, Resolved
from trainables.losses.base import Ends, Loss, missing, source_lack
from trainables.signals import Offer, Offers, Serving, Wants, modes
from trainables.tasks.base import Task, servings_of, wants_of
from trainables.tasks.decoding import longest_text
from trainables.tasks.evaluation import reads_bank
from trainables.teachers.teacher import Teacher
from trainables.training.build import (
    Plan,
    build_losses,
    loss_config,
    student_plan,
    unfed_losses,
    untaught_losses,
)

LossCorner = tuple[str, type[Loss], Loss.Config]
"""Name of a loss, its class, and options that it may have."""


@final
class Students:
    """The plug-ins of one space, as `Space.build` asks for them; and what follows from a candidate's config.

    Attributes:
        made: the tasks that students are deployed for, name -> task, in the order in which they are measured.
        teachers: name -> teacher; the first one is the reference.
    """

    def __init__(
        self,
        made: Mapping[str, Task],
        teachers: Mapping[str, Teacher],
        *,
        allow_partial: bool,
        classes: tuple[str, ...] = (),
    ) -> None:
        """Take what a space has chosen.

        Args:
            made: the tasks.
            teachers: all teachers that a candidate may have.
            allow_partial: whether a student may do only some of the tasks.
            classes: names of the classes of the data.
        """
        self.made, self.teachers, self._allow_partial = dict(made), dict(teachers), allow_partial
        self._classes = classes
        self._sources: dict[str, Wants] = {}
        self._variants: dict[tuple[int, str], tuple[Space, list[Blueprint], Iterator[Blueprint]]] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, sorted."""
        return tuple(sorted(self.made))

    def student(self, section: dict[str, Any], teacher: str) -> dict[str, Any]:
        """Return a student with absolute sizes and its family's defaults, see `spaces.candidate.Plugins`.

        Raises:
            IllegalCandidate: options that do not fit together, or a student that cannot do a task of the space.
        """
        found = {"kind": section["kind"], **self._resolved(section, teacher).options}
        try:
            offers = self._drafted(found, self.teachers[teacher]).offers
        except (ShapeError, PluginError) as error:
            raise IllegalCandidate(str(error), [("", str(error))]) from error
        lacking = {name: lack for name, task in self.made.items() if (lack := task.model_lack(offers))}
        if lacking and not self._allow_partial:
            what = "; ".join(f"{name} {lack}" for name, lack in lacking.items())
            text = (
                f"got a student that cannot do {', '.join(lacking)} ({what}); allowed: one that does every task of the space. "
                "Change its sizes, name fewer `tasks:`, or set allow_partial: true."
            )
            raise IllegalCandidate(f"student: {text}", [("", text)])
        return found

    def roundings(self, section: dict[str, Any], teacher: str) -> list[str]:
        """Return a sentence for each relative size that had to be rounded; none for what cannot be built."""
        try:
            return list(self._resolved(section, teacher).roundings)
        except IllegalCandidate:
            return []

    def loss(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a loss with its defaults."""
        return plain(loss_config(name, options))

    def teacher_of(self, config: Mapping[str, Any]) -> Teacher:
        """Return a candidate's teacher."""
        return self.teachers[self.teacher_name(config)]

    def teacher_name(self, config: Mapping[str, Any]) -> str:
        """Return how the space calls a candidate's teacher."""
        return str(config.get("teacher", next(iter(self.teachers))))

    def able(self, offers: Offers) -> list[Task]:
        """Return the tasks that a model with these offers can do."""
        return [task for task in self.made.values() if task.model_lack(offers) is None]

    def plan(self, config: Mapping[str, Any]) -> Plan:
        """Return what a candidate trains, and which part of it is deployed.

        Raises:
            ShapeError: sizes that do not fit together.
        """
        around = self.teacher_of(config).around(self._classes)
        whole = student_plan(config, around, ()).training
        return student_plan(config, around, self.able(whole.offers))

    def subject(self, config: Mapping[str, Any]) -> Subject:
        """Return what a candidate's costs are measured on.

        Raises:
            ShapeError: sizes that do not fit together.
        """
        return self.deployed(self.plan(config).deployed, self.teacher_of(config))

    def deployed(self, blueprint: Blueprint, teacher: Teacher) -> Subject:
        """Return a model that is deployed for all tasks that it can do, with what it then reads of its teacher."""
        able = self.able(blueprint.offers)
        wants = wants_of(able) & frozenset(
            blueprint.offers
        )  # some tasks can do with a part of what they want
        part = blueprint.deployed(wants)
        size = tokenizer_bytes(teacher.files.folder)
        alone = Subject(blueprint=part, servings=servings_of(able, part.offers), tokenizer_bytes=size)
        return reading(alone, self._source_of(part, wants), teacher.blueprint)

    def trained(self, candidate: Candidate) -> Subject:
        """Return what one example costs to train on: each mode that an active loss looks at once, at full length.

        Raises:
            ShapeError: sizes that do not fit together.
        """
        whole = self.plan(candidate.config).training
        offers, source = whole.offers, self.teacher_of(candidate.config).offers
        losses, _ = build_losses(candidate.config, offers, source)
        looked_at = modes(
            want for loss in losses.values() for want in loss.needs.student if offers[want].rows
        )
        servings = [Serving(mode=mode, tokens=longest_text(offers, mode)) for mode in sorted(looked_at)]
        return Subject(blueprint=whole, servings=servings)

    def taught(self, config: Mapping[str, Any]) -> Wants:
        """Return what a candidate's training reads of its teacher: its losses do, and the model itself may.

        Raises:
            ShapeError: sizes that do not fit together, or no loss is left.
        """
        whole = self.plan(config).training
        losses, _ = build_losses(config, whole.offers, self.teacher_of(config).offers)
        model = whole.on_meta()
        model.prepare_training(config["training"])
        said: Wants = frozenset().union(*(loss.needs.student for loss in losses.values()))
        if reads_bank(self.made.values()):  # training pictures are looked at by the tasks, too
            said |= wants_of(self.made.values()) & frozenset(whole.offers)
        return model.inputs(said).source.union(*(loss.needs.source for loss in losses.values()))

    def unfed(self, candidate: Candidate) -> dict[str, str]:
        """Return loss -> why the candidate's student cannot feed it, or its teacher where a space has several.

        What the only teacher of a space cannot feed was refused before.

        Raises:
            ShapeError: sizes that do not fit together.
        """
        config, source = candidate.config, self.teacher_of(candidate.config).offers
        offers = self.plan(config).training.offers
        untaught = untaught_losses(config, offers, source) if len(self.teachers) > 1 else {}
        return {**untaught, **unfed_losses(config, offers, source)}

    def variants(self, space: Space, teacher: str) -> Iterator[Blueprint]:
        """Yield the students that a space makes of a teacher, those that differ in what they offer or read once each.

        Grids and meanings count, on which hangs whether a loss can compare them with the teacher's; other sizes do not. Each is
        looked for once, since several ask and some are content with the first ones.
        """
        key = (id(space), teacher)  # the space is kept beside, so that no other takes its number
        _, found, rest = self._variants.setdefault(key, (space, [], self._looked_for(space, teacher)))
        for number in count():
            if number == len(found):
                following = next(rest, None)
                if following is None:
                    return
                found.append(following)
            yield found[number]

    def _looked_for(self, space: Space, teacher: str) -> Iterator[Blueprint]:
        """Yield the variants."""
        seen: set[tuple[Any, ...]] = set()
        for kind in space.kinds:
            for section in space.sections(kind, teacher):
                try:
                    blueprint = self._drafted(self.student(section, teacher), self.teachers[teacher])
                except StudentSearchError:
                    continue  # it becomes a rejected candidate, with its reason
                offered = frozenset((want, *_comparable(offer)) for want, offer in blueprint.offers.items())
                what = (offered, blueprint.kind, words(blueprint.to_dict()))
                if what not in seen:
                    seen.add(what)
                    yield blueprint

    def unfed_by_all(self, space: Space, losses: Iterable[LossCorner], teacher: str) -> dict[str, str]:
        """Return loss -> why no student of a teacher can feed it; one that some student can feed with some options is fed.

        Args:
            space: its students are asked at all sizes or at many of them.
            losses: as `checks.loss_configs` gives them.
            teacher: whose students.
        """
        left, reasons = list(losses), dict[str, str]()
        whose = "of this space" if len(self.teachers) == 1 else "of this teacher"
        for blueprint in self.variants(space, teacher):
            fed = set()
            for name, kind, config in left:
                ends = Ends(name=name, student=blueprint.offers, source=self.teachers[teacher].offers)
                needs = kind.needs_of(config, ends)
                if source_lack(needs, ends) is not None:
                    lacking = missing(needs.source, ends.source)
                    reasons[name] = f"needs {lacking}, which the teacher does not have"
                elif lacking := missing(needs.student, ends.student):
                    reasons[name] = f"needs {lacking}, which no student {whose} has"
                elif other := kind.disagreement(config, ends):
                    reasons[name] = f"{other.partition(';')[0]}; and so it is with every student {whose}"
                else:
                    fed.add(name)
            left = [one for one in left if one[0] not in fed]
            if not left:
                return {}
        return {name: reasons[name] for name, _, _ in left if name in reasons}

    def _source_of(self, part: Blueprint, wants: Wants) -> Wants:
        """Return what a deployed model reads of its teacher; asked once of each architecture, since a model is built for it."""
        key = json.dumps([part.to_dict(), sorted(map(str, wants))], sort_keys=True)
        if key not in self._sources:
            self._sources[key] = source_of(part, wants)
        return self._sources[key]

    def _resolved(self, section: Mapping[str, Any], teacher: str) -> Resolved:
        options = dict(section)
        family: type[Family] = resolve(FAMILIES, options.pop("kind"), "families")
        return family.resolve(options, self.teachers[teacher].blueprint.sizes)

    def _drafted(self, student: Mapping[str, Any], teacher: Teacher) -> Blueprint:
        return student_plan({"student": student}, teacher.around(self._classes), ()).training


def words(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of an architecture that are no numbers: what a student reads of its teacher hangs on them."""
    found: list[str] = []
    for name, value in sorted(fields.items()):
        if isinstance(value, Mapping):
            found += [f"{name}.{one}" for one in words(value)]
        elif isinstance(value, str | bool):
            found.append(f"{name}={value}")
    return tuple(found)


def _comparable(offer: Offer) -> tuple[Any, ...]:
    """Return what of an offer decides whether two models' tensors can be compared, beside their names."""
    grid = tuple(size for axis, size in zip(offer.axes, offer.sizes, strict=True) if axis in ("Y", "X"))
    return (offer.meaning, grid)
