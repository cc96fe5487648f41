"""Files of BLIP's authors say what the same weights say in the classes of transformers."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BlipForConditionalGeneration

from spaces.errors import TeacherError
from tests.unit.trainables.teachers.blip.asked import batch_of, close
from tests.unit.trainables.teachers.blip.originals import SIZE, authors_names, written
from tests.unit.trainables.teachers.published import save
from trainables.signals import PIXELS, Want, modes
from trainables.teachers.loading import load_teacher

TEMPERATURE = Want("contrast", "temperature")


@pytest.mark.parametrize("task", ["retrieval", "captioning", "vqa"])
def test_a_file_says_what_the_folder_of_the_same_weights_says(tmp_path: Path, task: str) -> None:
    path, published = written(tmp_path, task)
    ours, theirs = load_teacher(str(path)), load_teacher(str(published.folder))
    assert set(ours.offers) == set(theirs.offers)
    assert ours.preprocess == theirs.preprocess
    wants = frozenset(ours.offers) - {TEMPERATURE, Want("fused", "labels")}
    batch = batch_of(ours)
    said, expected = ours.signals(batch, wants), theirs.signals(batch, wants)
    assert all(torch.equal(said[want], expected[want]) for want in wants)
    assert load_teacher(str(path.parent)).files.fingerprint == ours.files.fingerprint
    if task == "retrieval":
        assert float(ours.signals(batch, frozenset({TEMPERATURE}))[TEMPERATURE]) == 0.0625
        told = "; ".join(ours.files.notes)
        assert "ITC temperature 0.0625, of its checkpoint" in told
        assert "momentum copies (4 tensors), queues (2 tensors)" in told
        with pytest.raises(TeacherError, match="its checkpoint holds one"):
            load_teacher(f"{path},temperature=0.05")


@torch.no_grad()
def test_a_file_of_pre_training_retrieves_and_captions_with_one_model(tmp_path: Path) -> None:
    path, published = written(tmp_path, "pretrained")
    teacher = load_teacher(str(path))
    assert modes(teacher.offers) == {
        "image",
        "text",
        "fused",
        "contrast",
        "decoder",
    }  # it answers no question
    batch, logits = batch_of(teacher), Want("decoder", "logits")
    alone = load_teacher(str(published.folder))
    wants = frozenset(alone.offers) - {TEMPERATURE, Want("fused", "labels")}
    said, expected = teacher.signals(batch, wants | {logits}), alone.signals(batch, wants)
    assert all(torch.equal(said[want], expected[want]) for want in wants)
    theirs = BlipForConditionalGeneration.from_pretrained(tmp_path / "captioner").eval()
    weights = torch.load(path, weights_only=True)["model"]
    decoder = {name: one for name, one in weights.items() if name.startswith("text_decoder.")}
    theirs.load_state_dict(decoder, strict=False)
    theirs.vision_model.load_state_dict(published.model.vision_model.state_dict())
    ids = batch["caption.ids"].clone()
    ids[:, 0] = theirs.config.text_config.bos_token_id
    real = batch["caption.mask"]
    close(said[logits][real], theirs(batch[PIXELS], ids, real.long()).logits[real])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("whole"), "pretrained")[0]


def spoiled(whole: Path, folder: Path, spoil: Any) -> Path:
    weights = torch.load(whole, weights_only=True)["model"]
    spoil(weights)
    for name in ("vocab.txt", "tokenizer.json"):
        (folder / name).write_bytes((whole.parent / name).read_bytes())
    torch.save({"model": weights}, folder / "model.pth")
    return folder / "model.pth"


def only(beginning: str) -> Any:
    return lambda weights: [weights.pop(key) for key in list(weights) if not key.startswith(beginning)]


LAYER = "text_decoder.bert.encoder.layer.0.output.dense.bias"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda w: w.update({LAYER: w[LAYER] + 1}), f"{LAYER} differs from text_encoder.encoder.layer.0"),
        (lambda w: w.update({"cls_head.0.weight": torch.zeros(1)}), "is a checkpoint of NLVR2"),
        (only("visual_encoder."), "is no checkpoint of BLIP"),
        (lambda w: w.pop("itm_head.bias"), "missing itm_head.bias"),
        (lambda w: w.update({"itm_head.bias": torch.zeros(3)}), "itm_head.bias (3,) instead of (2,)"),
        (lambda w: w.update({"surprise": torch.zeros(3)}), "unknown surprise"),
        (lambda w: w.update({"temp": torch.tensor(-1.0)}), "temp: got -1; allowed: one number above 0"),
        (lambda w: w.update({"temp": torch.ones(2)}), "temp: got 2 numbers; allowed: one number above 0"),
        (lambda w: w.pop("text_encoder.embeddings.word_embeddings.weight"), "word_embeddings.weight: got nothing"),
        (lambda w: w.update({"vision_proj.weight": torch.tensor(1.0)}), "vision_proj.weight: got shape ()"),
        (lambda w: w.update({7: torch.zeros(1)}), "allowed: a mapping of names to dense, real tensors"),
        (lambda w: w.update({"itm_head.bias": torch.zeros(2).to_sparse()}), "allowed: a mapping of names to dense"),
        (lambda w: w.update({"itm_head.bias": torch.zeros(2, dtype=torch.cfloat)}), "allowed: a mapping of names"),
        (lambda w: w.pop("visual_encoder.pos_embed"), "position_embedding: got nothing; allowed: a tensor of 3 axes"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_by_key(whole: Path, tmp_path: Path, spoil: Any, told: str) -> None:
    path = spoiled(whole, tmp_path, spoil)
    with pytest.raises(TeacherError) as caught:
        load_teacher(str(path))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_temperature_where_nothing_is_compared_is_an_unknown_weight(tmp_path: Path) -> None:
    path, _ = written(tmp_path, "captioning")
    weights = torch.load(path, weights_only=True)["model"]
    torch.save({"model": weights | {"temp": torch.tensor(0.07)}}, path)
    with pytest.raises(TeacherError, match="unknown temp"):
        load_teacher(str(path))


def test_a_file_that_asks_for_code_is_refused_and_runs_none(whole: Path, tmp_path: Path) -> None:
    path = spoiled(whole, tmp_path, lambda weights: None)
    torch.save({"model": torch.load(whole)["model"], "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(TeacherError, match=r"without running code that it asks for \(argparse\.Namespace\)"):
        load_teacher(str(path))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TeacherError, match=r"model\.pth: cannot be read"):
        load_teacher(str(path))


def test_what_lies_beside_a_file_counts(whole: Path, tmp_path: Path) -> None:
    path = spoiled(whole, tmp_path, lambda weights: None)
    (tmp_path / "med_config.json").write_text('{"num_attention_heads": 4}')
    assert load_teacher(str(path)).blueprint.architecture.text.heads == 4
    (tmp_path / "again.pth").write_bytes(b"")
    with pytest.raises(TeacherError, match=r"holds 2 files \*\.pth \(again\.pth, model\.pth\)"):
        load_teacher(str(tmp_path))
    for name in ("vocab.txt", "tokenizer.json"):
        (tmp_path / name).unlink()
    with pytest.raises(TeacherError, match="holds no tokenizer beside the weights"):
        load_teacher(str(path))


def test_heads_that_nothing_tells_are_asked_for(tmp_path: Path) -> None:
    narrow = ({**SIZE[0], "hidden_size": 80, "num_attention_heads": 5}, SIZE[1])
    published = save(tmp_path / "narrow", *narrow)
    weights = authors_names(dict(published.model.state_dict()))
    (published.folder / "model.safetensors").unlink()
    torch.save(weights, published.folder / "model.pth")
    assert load_teacher(str(published.folder)).blueprint.architecture.image.heads == 5
    (published.folder / "config.json").unlink()
    with pytest.raises(TeacherError, match="its image side is 80 wide, and heads of 64 channels"):
        load_teacher(str(published.folder))
