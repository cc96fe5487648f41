"""Public data sets, each made small in its true layout: counts and contents against what is worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.errors import PluginError
from tests.unit.trainables.datasets.formats.made_data import captions_of, coco, read, write_captions
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.prepare.dataset import PreparedDataset
from trainables.datasets.prepare.form import SHARDS


def test_karpathys_restval_is_trained_on_and_every_caption_is_kept(tmp_path: Path) -> None:
    root, out = public.karpathy(tmp_path / "coco"), tmp_path / "out"
    assert public.prepare("coco", root, out) == 0
    assert public.manifest(out)["counts"] == {
        "train": {"pictures": 4, "captions": 5 + 5 + 5 + 6, "questions": 0, "statements": 0},
        "val": {"pictures": 2, "captions": 10, "questions": 0, "statements": 0},
        "test": {"pictures": 2, "captions": 12, "questions": 0, "statements": 0},
    }
    test = read(public.opened(out), "test")
    assert test.caption_images.tolist() == [0] * 5 + [1] * 7
    assert test.captions[5] == "Picture 7, told in way 0."
    assert public.quarantine(out) == []


def test_bytes_of_pictures_stay_as_they_are(tmp_path: Path) -> None:
    root, out = public.karpathy(tmp_path / "coco"), tmp_path / "out"
    assert public.prepare("coco", root, out) == 0
    data = public.opened(out)
    assert isinstance(data, PreparedDataset)
    rows = data._rows["train"]
    for name, place in zip(rows.names, rows.places, strict=True):
        assert place.content() == (root / name).read_bytes()


def test_karpathys_pictures_are_found_under_the_names_of_2017(tmp_path: Path) -> None:
    rows = public.karpathy_rows()
    root = tmp_path / "coco"
    public.write_json(root / "annotations" / "dataset_coco.json", {"images": rows, "dataset": "coco"})
    for row in rows:  # the official splits of 2017 are others than those of 2014
        folder = "train2017" if row["cocoid"] % 3 else "val2017"
        public.put(root / folder / f"{row['cocoid']:012d}.jpg", row["cocoid"])
    assert public.prepare("coco", root, tmp_path / "out") == 0
    assert public.manifest(tmp_path / "out")["counts"]["train"]["pictures"] == 4


def test_official_coco_reads_as_the_kind_that_reads_it_in_place(tmp_path: Path) -> None:
    root, out = coco(tmp_path / "coco", train=5, val=3), tmp_path / "out"
    assert public.prepare("coco", root, out) == 0
    for name, count in (("train", 5), ("val", 3)):
        ours = read(public.opened(out), name)
        assert ours.num_images == count
        told = captions_of(root, name)
        want = {}
        for row in told["annotations"]:
            want.setdefault(row["image_id"], []).append(row["caption"].strip())
        assert ours.captions == [text for number in sorted(want) for text in want[number]]


def test_official_coco_can_hold_out_a_test_split(tmp_path: Path) -> None:
    root, out = coco(tmp_path / "coco", train=10, val=2), tmp_path / "out"
    assert public.prepare("coco", root, out, "--test-ratio", "0.2") == 0
    counts = public.manifest(out)["counts"]
    assert {name: one["pictures"] for name, one in counts.items()} == {"train": 8, "val": 2, "test": 2}


def test_flickr30k(tmp_path: Path) -> None:
    root, rows = tmp_path / "flickr", []
    for number, split in enumerate(("train", "train", "val", "test")):
        public.put(root / "flickr30k-images" / f"{number}.jpg", number)
        sentences = [{"raw": f"{number} {n}"} for n in range(5)]
        rows.append({"filename": f"{number}.jpg", "split": split, "imgid": number, "sentences": sentences})
    public.write_json(root / "dataset_flickr30k.json", {"images": rows, "dataset": "flickr30k"})
    assert public.prepare("flickr30k", root, tmp_path / "out") == 0
    counts = public.manifest(tmp_path / "out")["counts"]
    assert {name: (one["pictures"], one["captions"]) for name, one in counts.items()} == {
        "train": (2, 10),
        "val": (1, 5),
        "test": (1, 5),
    }


def vqa(root: Path) -> Path:
    """Write VQAv2 on four pictures: two questions on each, the second of which nine of ten answer alike."""
    for split, images in (("train", (1, 2, 3)), ("val", (9,))):
        questions, answers = [], []
        for image in images:
            public.put(root / f"{split}2014" / f"COCO_{split}2014_{image:012d}.jpg", image)
            for n in range(2):
                number = image * 1000 + n
                questions.append({"image_id": image, "question": f"What is {n}?", "question_id": number})
                told = ["no"] + ["yes"] * 9 if n else ["red"] * 4 + ["blue"] * 6
                rows = [
                    {"answer": one, "answer_confidence": "yes", "answer_id": k + 1}
                    for k, one in enumerate(told)
                ]
                answers.append(
                    {
                        "question_id": number,
                        "image_id": image,
                        "answers": rows,
                        "multiple_choice_answer": told[-1],
                    }
                )
        name = f"{split}2014"
        public.write_json(root / f"v2_OpenEnded_mscoco_{name}_questions.json", {"questions": questions})
        public.write_json(root / f"v2_mscoco_{name}_annotations.json", {"annotations": answers})
    return root


def test_vqa_keeps_all_ten_answers_and_reads_the_commonest(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert public.prepare("vqav2", vqa(tmp_path / "vqa"), out) == 0
    data = public.opened(out)
    assert data.kinds == {"picture", "question"}
    val = read(data, "val")
    assert val.questions == ["What is 0?", "What is 1?"]
    assert val.answers == ["blue", "yes"]
    assert val.answer_sets == [("red",) * 4 + ("blue",) * 6, ("no",) + ("yes",) * 9]
    assert val.question_images.tolist() == [0, 0]
    train = read(data, "train")
    assert train.questions == ["What is 0?", "What is 0?", "What is 1?", "What is 1?"] * 3
    assert train.answers == ["red", "blue", "no", "yes"] * 3
    assert train.question_images.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert train.question_times is not None
    assert train.question_times.tolist() == [4, 6, 1, 9] * 3, (
        "answers are drawn by the share of people who gave them"
    )
    assert val.question_times is None
    usual = public.opened(out, answers="commonest")
    assert read(usual, "train").question_images.tolist() == [0, 0, 1, 1, 2, 2]
    assert read(usual, "train").answers == ["blue", "yes"] * 3
    assert read(usual, "train").question_times is None
    assert usual.fingerprint != data.fingerprint


def test_visual_genome_is_trained_on_beside_vqa(tmp_path: Path) -> None:
    root, out = vqa(tmp_path / "vqa"), tmp_path / "out"
    qas = [{"qa_id": 5, "question": "Where?", "answer": "Here.", "image_id": 77}]
    file = public.write_json(tmp_path / "vg" / "question_answers.json", [{"id": 77, "qas": qas}])
    public.put(tmp_path / "vg" / "VG_100K_2" / "77.jpg", 77)
    assert public.prepare("vqav2", root, out, "--vg", str(file)) == 0
    data = public.opened(out)
    train = read(data, "train")
    assert (train.num_images, train.questions[-1], train.answer_sets[-1]) == (4, "Where?", ("Here.",))
    assert isinstance(data, PreparedDataset)
    assert [one.source for some in data._rows["train"].questions for one in some] == ["vqa"] * 6 + ["vg"]
    assert train.question_weights is not None
    assert train.question_weights.tolist() == pytest.approx([1] * 12 + [0.2]), (
        "as Li et al. 2022 (code) weigh them"
    )
    assert "questions of Visual Genome count 0.2" in data.describe()
    assert read(data, "val").question_weights is None


def test_only_questions_of_visual_genome_count_less_and_only_they_change_the_data(tmp_path: Path) -> None:
    root = vqa(tmp_path / "vqa")
    qas = [{"qa_id": 5, "question": "Where?", "answer": "Here.", "image_id": 77}]
    file = public.write_json(tmp_path / "vg" / "question_answers.json", [{"id": 77, "qas": qas}])
    public.put(tmp_path / "vg" / "VG_100K_2" / "77.jpg", 77)
    assert public.prepare("vqav2", root, tmp_path / "both", "--vg", str(file)) == 0
    assert public.prepare("vqav2", root, tmp_path / "alone") == 0

    def prints(out: str) -> list[str]:
        return [public.opened(tmp_path / out, vg_weight=one).fingerprint for one in (0.2, 0.5, 1.0)]

    assert len(set(prints("both"))) == 3
    assert len(set(prints("alone"))) == 1, "data without any stays what it was"
    assert read(public.opened(tmp_path / "alone"), "train").question_weights is None
    assert read(public.opened(tmp_path / "both", vg_weight=1.0), "train").question_weights is None
    with pytest.raises(PluginError, match=r"vg_weight: got 0; allowed: "):
        public.opened(tmp_path / "both", vg_weight=0)


def nlvr2(root: Path) -> Path:
    """Write NLVR2: two pairs to train on, the first with two sentences; one each to validate and test."""
    told: dict[str, list[dict[str, Any]]] = {"train": [], "dev": [], "test1": []}
    for split, pair, sentence, label in (
        ("train", "train-1-0", 0, "True"),
        ("train", "train-1-0", 1, "False"),
        ("train", "train-2-0", 0, "False"),
        ("dev", "dev-1-0", 0, "True"),
        ("test1", "test1-1-0", 0, "False"),
    ):
        row = {"identifier": f"{pair}-{sentence}", "sentence": f"sentence {sentence}", "label": label}
        deep = "71/" if split == "train" else ""
        for side in (0, 1):
            public.put(root / "images" / split / f"{deep}{pair}-img{side}.png", len(told["train"]) * 2 + side)
        told[split].append(row | ({"directory": 71} if split == "train" else {}))
    for split, rows in told.items():
        path = root / "data" / f"{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_nlvr2_gives_two_pictures_to_each_statement(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert public.prepare("nlvr2", nlvr2(tmp_path / "nlvr2"), out) == 0
    data = public.opened(out)
    train = read(data, "train")
    assert train.num_images == 4, "pictures of a pair with two sentences are kept once"
    assert train.statements.texts == ["sentence 0", "sentence 1", "sentence 0"]
    assert train.statements.images.tolist() == [[0, 1], [0, 1], [2, 3]]
    assert train.statements.holds.tolist() == [True, False, False]
    assert read(data, "val").statements.holds.tolist() == [True]
    assert read(data, "test").statements.holds.tolist() == [False]


def test_a_statement_without_its_right_picture_is_left_out_and_told(tmp_path: Path) -> None:
    root, out = nlvr2(tmp_path / "nlvr2"), tmp_path / "out"
    (root / "images" / "train" / "71" / "train-2-0-img1.png").write_bytes(b"")
    assert public.prepare("nlvr2", root, out) == 0
    assert [(one["what"], one["name"]) for one in public.quarantine(out)] == [
        ("picture", "train/train-2-0-img1.png"),
        ("statement", "train/train-2-0-img0.png"),
    ]
    assert read(public.opened(out), "train").statements.images.tolist() == [[0, 1], [0, 1]]
    assert public.manifest(out)["counts"]["train"]["statements"] == 2, "as many as are read"


def test_a_label_that_is_neither_true_nor_false_is_left_out_and_told(tmp_path: Path) -> None:
    root, out = nlvr2(tmp_path / "nlvr2"), tmp_path / "out"
    path = root / "data" / "train.json"
    path.write_text(path.read_text().replace('"label": "False"', '"label": "Maybe"', 1))
    assert public.prepare("nlvr2", root, out) == 0
    (told,) = public.quarantine(out)
    assert told["place"] == "train.json:2"
    assert "'Maybe' is neither 'True' nor 'False'" in told["reason"]


def test_splits_in_the_wrong_words_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = public.karpathy_rows()
    rows[2]["split"] = "trainval"
    assert public.prepare("coco", public.karpathy(tmp_path / "coco", rows), tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "images[2]: split: got 'trainval'; allowed: train, restval, val, test" in told
    assert "Traceback" not in told


def test_ids_that_stand_twice_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = public.karpathy_rows()
    rows[1]["cocoid"] = 0
    assert public.prepare("coco", public.karpathy(tmp_path / "one", rows), tmp_path / "out1") == 2
    assert "1 cocoids stand more than once: 0" in capsys.readouterr().err
    root = coco(tmp_path / "two")
    told = captions_of(root, "val")
    told["images"].append(told["images"][0])
    write_captions(root, "val", told)
    assert public.prepare("coco", root, tmp_path / "out2") == 2
    assert "id 50 stands twice" in capsys.readouterr().err


def test_missing_pictures_are_told_one_by_one_unless_all_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = public.karpathy(tmp_path / "coco")
    (root / "train2014" / "COCO_train2014_000000000001.jpg").unlink()
    assert public.prepare("coco", root, tmp_path / "out") == 0
    (told,) = public.quarantine(tmp_path / "out")
    assert told["place"] == "dataset_coco.json images[1]"
    assert told["reason"].endswith("COCO_train2014_000000000001.jpg does not exist")
    for path in root.rglob("*.jpg"):
        path.unlink()
    assert public.prepare("coco", root, tmp_path / "other") == 2
    assert "none of the first 8 pictures is there" in capsys.readouterr().err


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    root, out = public.karpathy(tmp_path / "coco"), tmp_path / "out"
    assert public.prepare("coco", root, out) == 0
    from PIL import Image

    val = read(public.opened(out), "val", side=16)
    with Image.open(root / "val2014" / "COCO_val2014_000000000004.jpg") as picture:
        want = np.asarray(picture.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(val.pixels[0], want)
    assert len(list((out / SHARDS).iterdir())) == 3
