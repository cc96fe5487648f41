"""The command that trains a teacher on own pairs: its words, what it measures, and that a search can read with it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from tests.unit.trainables.datasets.prepare import public
from tests.unit.trainables.datasets.prepare.test_public_kinds import nlvr2
from tests.unit.trainables.small import small_config
from trainables.families.blip.architecture import BlipArchitecture
from trainables.tasks.nlvr2 import Nlvr2
from trainables.teachers.blip import pretrain_own
from trainables.teachers.loading import check_pairing, load_teacher
from trainables.tokenizer import Tokenizer, write_word_tokenizer
from trainables.training.build import make_dataset, prepare_split

COLOURS = {"crimson": (200, 10, 30), "azure": (20, 90, 230), "ochre": (190, 130, 20)}


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the cache of a test its own, and train a smaller teacher."""

    def sizes(folder: Path, split: object, *, image_size: int, words: int) -> BlipArchitecture:
        folder.mkdir(exist_ok=True)
        found = pretrain_own.vocabulary_of(split, words)  # type: ignore[arg-type]
        told = write_word_tokenizer(folder, found, 12, marks=True)
        return small_config(vocabulary=told, image_size=image_size, max_tokens=12)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pretrain_own, "teacher_config", sizes)


def pairs(root: Path) -> Path:
    """Write pictures of one colour each, told in words that no scene has."""
    root.mkdir()
    rows = []
    for number in range(24):
        name = list(COLOURS)[number % 3]
        Image.new("RGB", (40, 30), COLOURS[name]).save(root / f"{number}.png")
        row = {"image": f"{number}.png", "caption": f"Un panneau {name}, numéro {number % 3}."}
        rows.append(
            row | {"question": "Quelle couleur ?", "answer": name, "split": "val" if number > 17 else "train"}
        )
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root / "pairs.jsonl"


def test_a_teacher_of_own_words_is_trained_measured_and_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = pairs(tmp_path / "own"), tmp_path / "teacher"
    words = [
        "--dataset",
        f"jsonl:{file}",
        "--out",
        str(out),
        "--epochs",
        "2",
        "--pairs",
        "64",
        "--image-size",
        "32",
    ]
    assert pretrain_own.main(words) == 0
    told = capsys.readouterr()
    assert "vocabulary: 14 of 14 words, which are 100.0%" in told.err
    teacher = load_teacher(str(out))
    assert json.loads(told.out) == teacher.files.measured["metrics"]
    assert {"tr_at_1", "caption_token_accuracy", "vqa_accuracy"} <= set(
        teacher.files.measured["metrics"]["val"]
    )
    data = make_dataset({"kind": "jsonl", "file": str(file)})
    train = data.split("train", framing=teacher.preprocess.framing, progress=lambda line: None)
    check_pairing(teacher, data, train.captions, questions=train.questions, answers=train.answers)
    assert teacher.tokenizer is not None
    assert teacher.tokenizer.unknown_share([*train.captions, *train.questions]) == 0


def test_a_teacher_of_statements_reads_two_pictures(tmp_path: Path) -> None:
    """Without captions it learns from statements alone; a search can ask it for the task `nlvr2`."""
    assert public.prepare("nlvr2", nlvr2(tmp_path / "nlvr2"), tmp_path / "data") == 0
    out = tmp_path / "teacher"
    words = ["--dataset", f"prepared:{tmp_path / 'data'}", "--out", str(out), "--epochs", "1", "--pairs", "8"]
    assert pretrain_own.main([*words, "--image-size", "32"]) == 0
    teacher = load_teacher(str(out))
    assert Nlvr2(Nlvr2.Config()).model_lack(teacher.offers) is None
    assert list(teacher.files.measured["metrics"]["val"]) == ["nlvr2_accuracy"]
    split = prepare_split(teacher, public.opened(tmp_path / "data"), "train", lambda line: None)
    assert split.fields >= {"statement.ids", "picture_2.pixels"}


def test_pictures_decoded_at_each_look_make_the_same_teacher_as_those_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert public.prepare("jsonl", pairs(tmp_path / "own"), tmp_path / "data") == 0
    found = []
    for how in ("mapped", "live"):
        more = {"workers": 0} if how == "live" else {}
        data = public.opened(tmp_path / "data", pixels=how, **more)
        monkeypatch.setattr(pretrain_own, "opened", lambda named, broken, data=data: data)
        words = ["--dataset", "prepared:x", "--out", str(tmp_path / how), "--epochs", "1", "--pairs", "48"]
        assert pretrain_own.main([*words, "--image-size", "32"]) == 0
        found.append(load_file(tmp_path / how / "model.safetensors"))
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_words_are_counted_as_the_tokenizer_divides_them() -> None:
    assert pretrain_own.words_of(["A dog's 2 Dogs, née!", "一只 a"]) == {
        "a": 2, "dog": 1, "'": 1, "s": 1, "2": 1, "dogs": 1, ",": 1, "née": 1, "!": 1, "一": 1, "只": 1,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["हिन्दी में कि की", "สวัสดี ครับ", "un café crème", "日本語の犬"])
def test_words_of_other_scripts_stay_whole(tmp_path: Path, text: str) -> None:
    words = tuple(pretrain_own.words_of([text]))
    assert "".join(words) == text.replace(" ", "")
    told = write_word_tokenizer(tmp_path, words, 24, marks=True)
    for tokenizer in (Tokenizer.from_folder(tmp_path, told, 24), AutoTokenizer.from_pretrained(tmp_path)):
        ids = (
            tokenizer.captions([text])[0]
            if isinstance(tokenizer, Tokenizer)
            else tokenizer(text)["input_ids"]
        )
        assert len(set(ids)) == len(words) + 2
        assert told.size > max(ids)
        assert 1 not in ids, "every word is known"


def test_a_vocabulary_that_a_search_would_refuse_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pairs(tmp_path / "own")
    flags = ["--dataset", f"jsonl:{file}", "--out", str(tmp_path / "out"), "--image-size", "32"]
    assert pretrain_own.main([*flags, "--words", "3"]) == 2
    told = capsys.readouterr().err
    assert "the vocabulary, 9 tokens of the texts to train on, does not know" in told
    assert "of the words of the captions" in told
    assert "epoch 1" not in told


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("jsonl", "--dataset: got 'jsonl'; allowed: KIND:PLACE"),
        ("jsnl:x", "--dataset: got 'jsnl:x'; allowed: KIND:PLACE"),
        ("jsonl:nowhere", "dataset.file: "),
    ],
)
def test_data_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str, why: str
) -> None:
    assert pretrain_own.main(["--dataset", named, "--out", str(tmp_path / "out")]) == 2
    assert why in capsys.readouterr().err


def test_broken_pictures_are_told_with_the_flag_that_leaves_them_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pairs(tmp_path / "own")
    (tmp_path / "own" / "3.png").write_bytes(b"")
    flags = ["--dataset", f"jsonl:{file}", "--epochs", "1", "--pairs", "8", "--image-size", "32"]
    assert pretrain_own.main([*flags, "--out", str(tmp_path / "out")]) == 2
    assert "or leave out all that are broken: --broken quarantine." in capsys.readouterr().err
    assert pretrain_own.main([*flags, "--out", str(tmp_path / "more"), "--broken", "quarantine"]) == 0
    assert "1 of 24 pictures cannot be read and are left out: 3.png" in capsys.readouterr().err


def test_data_without_captions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(10):
        public.put(tmp_path / "own" / f"{number}.jpg", number)
    assert (
        pretrain_own.main(["--dataset", f"pictures:{tmp_path / 'own'}", "--out", str(tmp_path / "out")]) == 2
    )
    assert "has no captions" in capsys.readouterr().err
