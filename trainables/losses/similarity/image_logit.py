"""Distillation of the similarities of pictures among themselves."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.divergence import FORMS, Form
from trainables.losses.options import require_one_of, require_positive
from trainables.losses.similarity.images import IMAGE, gathered, match_others, relations
from trainables.signals import Batch, Signals


@final
class ImageLogit(Loss):
    """Let each picture lie to the other pictures of the batch as the teacher has it: logits where there are no classes.

    Passalis and Tefas 2018 (probabilistic knowledge transfer), equations 4 to 6, with the softmax of cosines over a
    temperature of Abbasi Koohpayegani et al. 2020 (CompRess), section 3. The diagonal is left out, and so are rows that show
    the same picture. Both temperatures are options: a student's learned one belongs to its contrast, and would here move
    toward whatever the teacher's sharpness is. Embeddings may differ in length.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            form: `kl` of the distributions over the other pictures, or `mse` of the cosines over their temperatures.
            temperature: that the student's cosines are divided by.
            teacher_temperature: that the teacher's are divided by; below the student's it sharpens the target.
        """

        weight: float = 1.0
        form: Form = "kl"
        temperature: float = 0.1
        teacher_temperature: float = 0.1

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_one_of("form", self.form, FORMS)
            require_positive("temperature", self.temperature)
            require_positive("teacher_temperature", self.teacher_temperature)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.form: Form = config.form
        self.temperatures = (config.temperature, config.teacher_temperature)

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the picture's embedding of both."""
        return Needs(student=frozenset({IMAGE}), source=frozenset({IMAGE}))

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over the batch of all workers: KL(teacher || student) in nats, or squared differences.

        It is 0 where a batch shows one picture only.
        """
        mine_BE, theirs_BF, same_BB = gathered(student, source, batch)
        return match_others(*relations(mine_BE, theirs_BF, self.temperatures), same_BB, self.form)
