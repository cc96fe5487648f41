"""One prompt for training, evaluation and export: as the published class has it in its loss, and where captions begin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import PluginError, TeacherError
from spaces.plugins import resolve
from tests.unit.trainables.families.blip.as_published import as_published
from tests.unit.trainables.small import CPU, EPS, encoded, write_teacher
from trainables.datasets.encoded import EncodedSplit
from trainables.export.student import load
from trainables.families.blip.model import Blip
from trainables.losses import LOSSES
from trainables.losses.base import Ends
from trainables.model_folder import Reading, write_model_folder
from trainables.signals import PICTURE, Signals, Want
from trainables.tasks.beams import Beams, beam_search
from trainables.tasks.captioning import TOKEN_ACCURACY, Captioning
from trainables.tasks.decoding import LOGITS, Decoder
from trainables.tasks.pool import EvaluationSize, Pool
from trainables.teachers.cache.layout import parts_of
from trainables.teachers.loading import load_teacher
from trainables.teachers.naming import TeacherName
from trainables.teachers.teacher import Teacher

WORDS = "there is a"
SIZE = EvaluationSize(images=12, captions_per_image=1, questions_per_image=1)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return load_teacher(f"{write_teacher(tmp_path_factory.mktemp('prompt') / 'small')},prompt={WORDS}")


@pytest.fixture(scope="module")
def split(teacher: Teacher) -> EncodedSplit:
    return encoded(teacher, "val")


def model_of(teacher: Teacher) -> Blip:
    assert isinstance(teacher.model, Blip)
    return teacher.model


def begun(teacher: Teacher) -> list[int]:
    assert teacher.tokenizer is not None
    return teacher.tokenizer.prompt()


def batch_of(split: EncodedSplit, count: int = 6) -> Any:
    pictures = np.arange(count)
    rows = split.tables["caption"].row(pictures, np.zeros(count, dtype=np.int64))
    return split.batch({PICTURE: pictures, "caption": rows}, CPU)


def loss_of(teacher: Teacher) -> Any:
    kind: Any = resolve(LOSSES, "lm", "losses")
    return kind(kind.Config(), Ends(name="lm", student=teacher.offers))


def test_loss_is_that_of_the_published_class_with_the_prompt_left_out(
    teacher: Teacher, split: EncodedSplit
) -> None:
    model, batch, v = model_of(teacher), batch_of(split), split.vocabulary
    published = as_published(model).text_decoder
    published.label_smoothing = 0.1
    prompt = begun(teacher)
    ids = torch.cat([torch.tensor(prompt).expand(6, -1), batch["caption.ids"][:, 1:]], dim=1)
    real = torch.cat([torch.ones(6, len(prompt), dtype=torch.bool), batch["caption.mask"][:, 1:]], dim=1)
    labels = ids.masked_fill(~real, -100)
    labels[:, : len(prompt)] = -100
    with torch.no_grad():
        tokens = model.encode_image(batch["picture.pixels"])
        theirs = published(
            input_ids=ids,
            attention_mask=real.long(),
            encoder_hidden_states=tokens,
            labels=labels,
            return_dict=True,
        ).loss
        ours = {}
        for training in (False, True):
            said = model.train(training)(batch, frozenset({LOGITS}))
            ours[training] = loss_of(teacher)(said, Signals(), batch)
    model.eval()
    assert (ids == v.pad).any(), "some captions are shorter than others"
    assert ours[False].item() == pytest.approx(float(theirs), rel=256 * EPS)
    assert ours[True].item() == pytest.approx(float(theirs), rel=256 * EPS)
    bare = type(batch)(
        fields={k: x for k, x in batch.fields.items() if k != "caption.prompt"}, rows=batch.rows
    )
    with torch.no_grad():
        without = loss_of(teacher)(model(bare, frozenset({LOGITS})), Signals(), bare)
    assert abs(without.item() - float(theirs)) > 1e-3, "or the prompt would change nothing"


def test_signals_are_those_of_the_captions_own_tokens(teacher: Teacher, split: EncodedSplit) -> None:
    model, batch = model_of(teacher), batch_of(split)
    what = {name: Want("decoder", name, 1) for name in ("hidden", "attention", "cross_attention")}
    prompt, length = begun(teacher), batch["caption.ids"].shape[1]
    more = len(prompt) - 1
    whole = {
        "caption.ids": torch.cat([torch.tensor(prompt).expand(6, -1), batch["caption.ids"][:, 1:]], dim=1),
        "caption.mask": torch.cat([torch.ones(6, more, dtype=torch.bool), batch["caption.mask"]], dim=1),
        "picture.pixels": batch["picture.pixels"],
    }
    with torch.no_grad():
        said = model(batch, frozenset(what.values()))
        full = model(type(batch)(fields=whole, rows=batch.rows), frozenset(what.values()))
    assert torch.equal(said[what["hidden"]], full[what["hidden"]][:, more:])
    assert torch.equal(said[what["cross_attention"]], full[what["cross_attention"]][:, :, more:])
    own = full[what["attention"]][:, :, more:, more:]
    assert said[what["attention"]].shape[-2:] == (length, length)
    torch.testing.assert_close(said[what["attention"]] * own.sum(-1, keepdim=True), own)
    torch.testing.assert_close(said[what["attention"]].sum(-1), torch.ones(own.shape[:-1]))


def test_evaluation_begins_with_it(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    plain = load_teacher(str(teacher.files.folder))
    task: Any = Captioning(Captioning.Config(decode="beam", tokenizer="plain"))
    asked: Any = Captioning(Captioning.Config(decode="beam", tokenizer="plain", prompt=WORDS))
    pools = [Pool(teacher.model, one, CPU, size=SIZE) for one in (split, encoded(plain, "val"))]
    assert task.captions(pools[0]) == asked.captions(pools[1]) == asked.captions(pools[0])
    assert task.captions(pools[0]) != task.captions(pools[1])
    other: Any = Captioning(Captioning.Config(decode="beam", tokenizer="plain", prompt="a red ring"))
    with pytest.raises(
        PluginError, match=r"prompt: got 'a red ring', and students are trained with 'there is a'"
    ):
        other.captions(pools[0])

    forced: Any = Captioning(Captioning.Config())
    right = total = 0
    for picture in range(SIZE.images):
        (row,) = split.tables["caption"].rows_of(picture)[:1]
        ids = split.tables["caption"].ids[row, : split.tables["caption"].lengths[row]].tolist()
        text = torch.tensor([[*begun(teacher), *ids[1:]]])
        tokens = model_of(teacher).encode_image(split.images(np.array([picture]), CPU))
        with torch.no_grad():
            logits = model_of(teacher).decode(text, torch.ones_like(text, dtype=torch.bool), tokens)
        first = len(begun(teacher))
        right += int((logits[0, first - 1 : -1].argmax(-1) == text[0, first:]).sum())
        total += len(ids) - 1
    assert forced.evaluate(pools[0])[TOKEN_ACCURACY] == pytest.approx(100 * right / total)


def test_an_exported_student_begins_with_it(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    assert teacher.tokenizer is not None
    reading = Reading(preprocess=teacher.preprocess, tokenizer=teacher.tokenizer, folder=teacher.files.folder)
    write_model_folder(tmp_path / "student", model_of(teacher), kind="blip", reading=reading, measured={})
    pixels = split.images(np.arange(4), CPU)
    decoder = Decoder(
        model=model_of(teacher), logits=LOGITS, rows="caption", vocabulary=split.vocabulary,
        longest=teacher.tokenizer.max_tokens,
    )  # fmt: skip
    rows = beam_search(decoder, [begun(teacher)] * 4, pixels, Beams())
    wanted = [teacher.tokenizer.decode(row) for row in rows]
    again = load_teacher(str(tmp_path / "student"))
    assert again.tokenizer is not None
    assert again.tokenizer.prompt() == begun(teacher)
    assert again.tokenizer.words == WORDS
    student, pictures = load(tmp_path / "student"), [np.asarray(split.pixels[row]) for row in range(4)]
    assert student.caption(pictures, beams=3) == wanted
    batch = batch_of(split, 4)
    texts = [split.texts["caption"][row] for row in batch.numbers("caption")]
    with torch.no_grad():
        said = model_of(teacher)(batch, frozenset({LOGITS}))[LOGITS]
    torch.testing.assert_close(student.signals(pictures, texts, wants={LOGITS})[LOGITS], said)


def test_captions_leave_room_for_it_and_targets_leave_it_out(teacher: Teacher, split: EncodedSplit) -> None:
    assert teacher.tokenizer is not None
    words = teacher.tokenizer
    (cut,) = words.captions(["red " * 50])
    assert len(cut) == words.max_tokens - 3
    assert (cut[0], cut[-1]) == (words.vocabulary.cls, words.vocabulary.sep)
    batch = batch_of(split)
    assert batch["caption.prompt"].tolist() == [begun(teacher)[1:]] * 6
    assert batch["caption.targets"].sum(1).tolist() == (batch["caption.mask"].sum(1) - 1).tolist()
    assert "caption.prompt" not in batch_of(encoded(load_teacher(str(teacher.files.folder)), "val")).fields


def test_it_is_told_and_is_part_of_what_a_cache_is_of(teacher: Teacher) -> None:
    plain = load_teacher(str(teacher.files.folder))
    assert any(f"captions go on from '{WORDS}'" in note for note in teacher.files.notes)
    assert parts_of(teacher) != parts_of(plain)
    assert parts_of(load_teacher(str(teacher.files.folder))) == parts_of(plain)


def test_a_name_with_a_prompt_is_taken_apart_and_put_together() -> None:
    found = TeacherName.parsed("retrieval=a/b, captioning=c/d,prompt=a picture of,temperature=0.05")
    assert (found.prompt, found.temperature, found.parts["captioning"]) == ("a picture of", 0.05, "c/d")
    assert TeacherName.parsed(str(found)) == found
    with pytest.raises(TeacherError, match=r"got 'prompt='; allowed"):
        TeacherName.parsed("embedded,prompt=")
    with pytest.raises(TeacherError, match="each once"):
        TeacherName.parsed("embedded,prompt=a,prompt=b")


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("a picture of", "'picture' is no word of this tokenizer"),
        ("red " * 30, r"30 tokens; allowed: known words, 1 to 21 tokens"),
    ],
)
def test_a_prompt_that_cannot_be_said_is_refused_by_name(teacher: Teacher, prompt: str, why: str) -> None:
    with pytest.raises(TeacherError, match=f"prompt: got '{prompt.strip()}.*{why}"):
        load_teacher(f"{teacher.files.folder},prompt={prompt}")
