"""Who can feed which loss, told by name: what the table's rows are for, worked by hand."""

import pytest

from spaces.errors import ShapeError, TeacherError
from tests.unit.trainables.losses.factory import (
    build,
    needs_of,
    offers_of,
    student_architecture,
    teacher_architecture,
)
from trainables.losses import LOSSES
from trainables.losses.base import Ends, Needs, data_lack, source_lack, student_lack
from trainables.signals import NOTHING, Want

DUAL = offers_of(student_architecture(fusion=()))
OF_FUSION = {
    "itm", "lm", "vqa", "fused_hidden", "decoder_hidden", "cross_attention", "decoder_attention", "lm_logit",
    "answer_logit", "nlvr2", "itm_logit",
}  # fmt: skip
OF_THE_TEACHERS_DECODER = {"decoder_hidden", "decoder_attention", "lm_logit", "answer_logit"}
OF_NO_TEACHER = {"class_label", "itc", "itm", "lm", "nlvr2", "vqa"}
FIELDS = {
    "class_label": {"picture.label"},
    "combined": {"caption.key"},
    "interactive": {"caption.key"},
    "itc": {"caption.key"},
    "lm": {"caption.ids", "caption.targets"},
    "nlvr2": {"statement.label"},
    "vqa": {"question.ids", "question.targets"},
    "lm_logit": {"caption.targets"},
    "answer_logit": {"question.targets"},
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_dual_encoder_cannot_feed_what_looks_at_picture_and_text_together(name: str) -> None:
    reason = student_lack(*needs_of(name, DUAL))
    assert source_lack(*needs_of(name, DUAL)) is None
    assert (reason is not None) == (name in OF_FUSION)
    if reason is None:
        build(name, DUAL)
    else:
        with pytest.raises(ShapeError, match=rf"losses\.{name}: needs .*, which this student does not have"):
            build(name, DUAL)


@pytest.mark.parametrize("name", LOSSES)
def test_a_teacher_without_decoder_cannot_feed_what_reads_it(name: str) -> None:
    bare = offers_of(teacher_architecture(decoder=False))
    reason = source_lack(*needs_of(name, source=bare))
    assert student_lack(*needs_of(name, source=bare)) is None
    assert (reason is not None) == (name in OF_THE_TEACHERS_DECODER)
    if reason is not None:
        with pytest.raises(TeacherError, match=rf"losses\.{name}: needs .* of the teacher.*Drop the loss"):
            build(name, source=bare)


@pytest.mark.parametrize("name", LOSSES)
def test_a_task_loss_asks_nothing_of_the_teacher(name: str) -> None:
    assert (needs_of(name)[0].source == NOTHING) == (name in OF_NO_TEACHER)
    if name in OF_NO_TEACHER:
        build(name, source={})


@pytest.mark.parametrize("name", LOSSES)
def test_fields_of_the_batch_are_named_beforehand(name: str) -> None:
    asked, _ = needs_of(name)
    assert asked.fields == FIELDS.get(name, set())
    assert data_lack(asked, asked.fields | {"picture.pixels"}) is None
    if asked.fields:
        least = min(asked.fields)
        reason = data_lack(asked, asked.fields - {least})
        assert reason == f"needs {least}, which not every split of this data has."


def test_lacks_name_the_signals() -> None:
    want = frozenset({Want("decoder", "logits")})
    ends = Ends(name="lm_logit", student={}, source={})
    assert student_lack(Needs(student=want), ends) == (
        "needs decoder.logits, which this student does not have; left out for it."
    )
    assert source_lack(Needs(student=want, source=want), ends) == (
        "needs decoder.logits of the teacher, which this one does not have. Drop the loss or change the teacher."
    )


def test_a_model_without_layers_of_a_mode_is_told_the_mode() -> None:
    assert student_lack(*needs_of("decoder_hidden", DUAL)) == (
        "needs decoder.hidden, which this student does not have; left out for it."
    )
