"""A frozen model that answers what the active losses want, and nothing else."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from spaces.errors import TeacherError
from trainables.families.base import Blueprint, Family, Surroundings
from trainables.preprocess import PreprocessConfig
from trainables.signals import Batch, Offers, Signals, Want, Wants, looks_at_pictures
from trainables.teachers.measured import read_measured
from trainables.teachers.published import open_published
from trainables.tokenizer import Tokenizer

TEMPERATURE = Want("contrast", "temperature")


@dataclass(frozen=True, kw_only=True)
class TeacherFiles:
    """Where a teacher came from.

    Attributes:
        name: as the user gave it.
        folder: the folder read.
        fingerprint: hash of weights and config.
        measured: figures that its folder brings (quality, data specification), possibly empty; where its loader gives none,
            those of its side file.
        notes: what its user should know of how it was read.
    """

    name: str
    folder: Path
    fingerprint: str
    measured: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Teacher:
    """Model, tokenizer and preprocessing; always in eval mode, never with gradient.

    Dropout left on in a teacher's targets is the first mistake of public ports of DLIP; so the mode is set
    here, once, and `signals` refuses to run in another.

    Its weights may be unread until somebody asks for `model`: a trial whose signals are cached never does.

    Attributes:
        blueprint: of the model.
        files: where it came from.
        temperature: of its similarities, where its checkpoint holds none and somebody told it.
    """

    def __init__(
        self,
        model: Family | Callable[[], Family],
        tokenizer: Tokenizer | None,
        preprocess: PreprocessConfig,
        files: TeacherFiles,
        *,
        blueprint: Blueprint,
    ) -> None:
        """Take a model, or what reads it when it is asked for."""
        self._device: torch.device | None = None
        self._model: Family | None = None
        self._outline: Family | None = None
        self._read: Callable[[], Family] | None = None
        self.temperature: float | None = None
        if isinstance(model, Family):
            self._model = model.eval().requires_grad_(False)
        else:
            self._read = model
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.files = files if files.measured else replace(files, measured=read_measured(files.folder))
        self.blueprint = blueprint

    @property
    def is_read(self) -> bool:
        """Whether its weights are in memory."""
        return self._model is not None

    @property
    def model(self) -> Family:
        """The model with its weights, read now if they are not yet.

        Raises:
            TeacherError: they cannot be read any more.
        """
        if self._model is None:
            assert self._read is not None  # one of the two was given
            with torch.random.fork_rng(devices=[]):  # a training is the same, whenever its teacher is read
                found = self._read().eval().requires_grad_(False)
            self._keep_temperature(found)
            self._model = found if self._device is None else found.to(self._device)
        return self._model

    def to(self, device: torch.device | str) -> "Teacher":
        """Move the model, now or when it is read; return the teacher."""
        self._device = torch.device(device)
        if self._model is not None:
            self._model.to(self._device)
        return self

    @property
    def plan(self) -> Family:
        """The model, with weights or on the meta device: to ask it what it looks at."""
        if self._model is not None:
            return self._model
        if self._outline is None:
            self._outline = self.blueprint.on_meta()
        return self._outline

    @cached_property
    def offers(self) -> Offers:
        """All that it can say."""
        return self.blueprint.offers

    @property
    def surroundings(self) -> Surroundings:
        """What the sizes of its students follow from, on data without classes."""
        return self.around(())

    def around(self, classes: tuple[str, ...]) -> Surroundings:
        """Return what the sizes of its students follow from, on data with these classes."""
        return Surroundings(
            image_size=self.preprocess.image_size,
            max_tokens=self.tokenizer.max_tokens if self.tokenizer else 0,
            vocabulary=self.tokenizer.vocabulary if self.tokenizer else None,
            sizes=self.blueprint.sizes,
            teacher=self.blueprint.architecture,
            offers=self.offers,
            classes=classes,
            tokens=self.tokenizer.tokens if self.tokenizer else tuple,
            published=open_published,
        )

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return the fields of a batch that it looks at to answer."""
        return self.plan.inputs(wants).fields if wants else frozenset()

    def pictured(self, wants: Wants) -> Wants:
        """Return those of the wants that tell of pictures: they are about examples, and their passes look at pixels."""
        return frozenset(
            want
            for want in wants
            if self.offers[want].rows and looks_at_pictures(self.plan.inputs(frozenset({want})).fields)
        )

    @property
    def lacks_temperature(self) -> bool:
        """Whether nobody has told the temperature of its similarities yet, which its checkpoint does not hold."""
        return self.blueprint.temperature_given and self.temperature is None

    def tell_temperature(self, value: float, *, origin: str) -> None:
        """Take the temperature of its similarities, which its checkpoint does not hold; by its fingerprint it is another teacher.

        Args:
            value: above 0.
            origin: whence, for the user.

        Raises:
            TeacherError: its checkpoint holds one, or it has none.
        """
        if not self.lacks_temperature:
            raise TeacherError(
                f"teacher {self.files.name}: got temperature {value:g}; allowed: none, since "
                + (
                    "its checkpoint holds one."
                    if TEMPERATURE in self.offers
                    else "it has no ITC similarities."
                )
                + " Leave it out."
            )
        before = self.files.fingerprint
        told = hashlib.sha256(f"{before} temperature {value!r}".encode()).hexdigest()[:16]
        note = f"ITC temperature {value:g}, {origin}; its checkpoint holds none"
        self.files = replace(self.files, fingerprint=told, notes=(*self.files.notes, note))
        self.temperature = value
        if self._model is not None:
            self._keep_temperature(self._model)

    def _keep_temperature(self, model: Family) -> None:
        """Put what was told where the model looks for it; it is a constant there, no weight."""
        for name, buffer in model.named_buffers():
            if self.temperature is not None and name.rpartition(".")[2] == TEMPERATURE.what:
                buffer.fill_(self.temperature)

    @torch.no_grad()
    def signals(self, batch: Batch, wants: Wants, known: Signals | None = None) -> Signals:
        """Return the signals for the given examples (no negatives), in autocast on a GPU.

        Args:
            batch: B examples.
            wants: what to compute.
            known: what an earlier pass over the same pictures said, which is then not repeated.
        """
        if not wants:
            return Signals()
        if self.model.training:
            raise RuntimeError("the teacher left eval mode")
        kind = batch.device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
            found: Signals = self.model(batch, wants, None, known)
        if TEMPERATURE in wants and self.lacks_temperature:
            raise TeacherError(
                f"teacher {self.files.name}: its checkpoint holds no ITC temperature, which a loss asks for. Give it with the "
                f"name: '{self.files.name},temperature=0.05'; a search finds it on the validation pairs by itself."
            )
        return Signals({want: value.detach() for want, value in found.items()})
