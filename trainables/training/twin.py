"""The student's momentum twin: a moving average of its weights, and a queue of what it has said lately, as a source of signals.

He et al. 2020 (MoCo), section 3.2; Li et al. 2022, section 3.2. It lies outside of the module that DistributedDataParallel
sees, so that nothing of it is sent at each step: every worker holds the same, since all begin alike, average their gradients and
remember the rows of all, in order of rank. Where the latter leave their twin in training mode, this one answers without dropout.
"""

import copy
from collections.abc import Mapping
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from spaces.errors import PluginError
from trainables.families.base import Family
from trainables.gather import first_row, gather_counted, same_buffers, worker_rows
from trainables.losses.base import Needs, TwinNeeds
from trainables.signals import (
    CAPTION,
    KEY_CAPTION,
    KEY_OWN,
    KEY_PICTURE,
    PICTURE,
    Batch,
    Signals,
    Want,
    of_keys,
    of_twin,
)
from trainables.training.parts import make_room, num_rows, part_of, spans

NOBODY = -100  # number of the rows that a queue begins with; no picture and no caption has it
NUMBERS = {PICTURE: KEY_PICTURE, CAPTION: KEY_CAPTION}


def twin_needs(needs: Mapping[str, Needs]) -> TwinNeeds | None:
    """Return what the losses of a training ask of the twin together; None where none does.

    Raises:
        PluginError: they ask for different ones.
    """
    asked = {name: one.twin for name, one in needs.items() if one.twin is not None}
    if not asked:
        return None
    if len({(one.decay, one.queue) for one in asked.values()}) > 1:
        told = "; ".join(f"{name} decay {one.decay:g}, queue {one.queue}" for name, one in asked.items())
        raise PluginError(f"losses: got {told}; allowed: one decay and one queue for all. Make them equal.")
    first = next(iter(asked.values()))
    wants = frozenset().union(*(one.wants for one in asked.values()))
    return TwinNeeds(wants=wants, decay=first.decay, queue=first.queue)


@final
class Twin:
    """A source of signals that follows the student.

    Attributes:
        model: in eval mode, without gradient.
        queue: want -> (queue, E), the rows that were said last; at first, as in Li et al. 2022, vectors of unit norm that
            stand for nobody.
        numbers: kind -> (queue,) which picture, and which caption, each of them is of.
        place: of the next row; the oldest one goes.
        parts: in which it says a batch, more than one since a whole one did not fit into memory.
    """

    def __init__(self, student: Family, needs: TwinNeeds) -> None:
        self.needs = needs
        self.model = copy.deepcopy(student).eval().requires_grad_(False)
        offers, device = student.offers(student.architecture), student.device
        self._order = sorted(needs.wants, key=str)
        drawn = torch.Generator().manual_seed(0)
        self.queue: dict[Want, Tensor] = {}
        for want in self._order:
            rows = torch.randn(needs.queue, *offers[want].sizes, generator=drawn)
            self.queue[want] = F.normalize(rows, dim=-1).to(device)
        self.numbers = {
            kind: torch.full((needs.queue,), NOBODY, dtype=torch.long, device=device) for kind in NUMBERS
        }
        self.place, self.parts = 0, 1
        self._said: tuple[dict[Want, Tensor], dict[str, Tensor]] | None = None

    @torch.no_grad()
    def signals(self, batch: Batch, given: Signals) -> Signals:
        """Return what it says of a batch, and its keys: rows of all workers, in order of rank, then those of the queue.

        Args:
            batch: of this worker.
            given: what the teacher says, for students that read it.

        Raises:
            OutOfMemoryError: not even what it says of one example fits.
        """
        said = self._told(batch, given)
        own = {PICTURE: batch.rows[PICTURE], CAPTION: batch["caption.key"]}
        count, device = len(own[PICTURE]), own[PICTURE].device
        counts = worker_rows(count, device)
        rows = gather_counted(counts, *(said[want].float() for want in self._order), *own.values())
        spoken = dict(zip(self._order, rows, strict=False))
        numbers = dict(zip(own, rows[len(self._order) :], strict=True))
        self._said = spoken, numbers
        found = Signals({of_twin(want): said[want] for want in self._order})
        found |= {of_keys(want): torch.cat([spoken[want], self.queue[want]]) for want in self._order}
        found |= {want: torch.cat([numbers[kind], self.numbers[kind]]) for kind, want in NUMBERS.items()}
        first = first_row(counts)
        found[KEY_OWN] = torch.arange(first, first + count, device=device)
        return found

    def _told(self, batch: Batch, given: Signals) -> Signals:
        """Return what it says of a batch, from there on in parts where a whole one does not fit.

        In eval mode it says of an example the same beside any others, so that this needs nobody's leave, as the student's parts
        do, nor other workers'.

        Raises:
            OutOfMemoryError: not even a single example fits.
        """
        rows = num_rows(batch)
        while True:
            said: list[Signals] = []
            try:
                for span in spans(rows, self.parts):
                    part, told = part_of(batch, given, *span)
                    said.append(self.model(part, self.needs.wants, told))
                return Signals({want: torch.cat([one[want] for one in said]) for want in self._order})
            except torch.OutOfMemoryError as error:
                reason = str(error).partition("\n")[0]  # its traceback would hold what the pass has made
            if self.parts >= rows:
                raise torch.OutOfMemoryError(
                    f"the student's twin does not fit ({reason.rstrip('.')}), not even with one example of {rows} at a time. "
                    "Take a smaller student, or leave out taught_by: twin"
                )
            self.parts = min(2 * self.parts, rows)
            del said
            make_room(self.model.device)

    @torch.no_grad()
    def remember(self) -> None:
        """Put what was said last into the queue, the same on every worker; of more than it holds, the last rows."""
        if self._said is None or not self.needs.queue:
            return
        size, (spoken, numbers) = self.needs.queue, self._said
        count = len(numbers[PICTURE])
        kept = min(count, size)
        places = torch.arange(self.place + count - kept, self.place + count, device=self.model.device) % size
        for want, rows in spoken.items():
            self.queue[want][places] = rows[-kept:]
        for kind, one in numbers.items():
            self.numbers[kind][places] = one[-kept:]
        self.place = (self.place + count) % size
        self._said = None

    @torch.no_grad()
    def follow(self, student: Family) -> None:
        """Move its weights towards the student's: decay x its own + (1 - decay) x theirs; its buffers are those of rank 0's."""
        mine, theirs = list[Tensor](self.model.parameters()), list[Tensor](student.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - self.needs.decay)
        for buffer, origin in zip(self.model.buffers(), student.buffers(), strict=True):
            buffer.copy_(origin)
        same_buffers(self.model)

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        return {
            "model": self.model.state_dict(),
            "queue": {str(want): rows for want, rows in self.queue.items()},
            "numbers": dict(self.numbers),
            "place": self.place,
            "parts": self.parts,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.model.load_state_dict(state["model"])
        for want, rows in self.queue.items():
            rows.copy_(state["queue"][str(want)])
        for kind, one in self.numbers.items():
            one.copy_(state["numbers"][kind])
        self.place, self.parts = state["place"], state.get("parts", 1)  # an older checkpoint took whole ones
