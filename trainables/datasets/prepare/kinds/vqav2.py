"""VQAv2: questions on the pictures of COCO 2014, ten answers each, and perhaps those of Visual Genome to train on.

    root/v2_OpenEnded_mscoco_{train,val}2014_questions.json
                                     {"questions": [{"question_id", "image_id", "question"}, ...]}
    root/v2_mscoco_{train,val}2014_annotations.json
                                     {"annotations": [{"question_id", "image_id", "answers": [{"answer"}, ...]}, ...]}
    root/{train,val}2014/COCO_{train,val}2014_000000000042.jpg
    --vg question_answers.json       [{"id", "qas": [{"qa_id", "question", "answer"}]}], beside VG_100K and VG_100K_2

All ten answers stay: the official accuracy leaves out each annotator once (Goyal et al. 2017). The answers of the official test
split are not public, so that it is not read: `--test-ratio` of train can be held out as one.
"""

from collections import Counter
from collections.abc import Mapping
from os.path import isfile
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from trainables.datasets.formats.coco import is_id, rows_of
from trainables.datasets.formats.tables import read_any_json, read_json
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.items import VG, Item, Question
from trainables.datasets.prepare.kinds.coco import noted
from trainables.datasets.prepare.listing import Asked, Listed, Lister, first_folder

ANSWERS = 10


def vqav2(asked: Asked) -> Listed:
    """List the pictures that are asked about, with their questions.

    Raises:
        DatasetError: the annotations cannot be used, or the pictures are nowhere.
    """
    lister = Lister(asked)
    for split in ("train", "val"):
        _list_split(lister, split)
    lister.problems.raise_any()
    more = lister.hold_out()
    if asked.vg is not None:
        _list_vg(lister, asked.vg)
    return lister.done(
        divided=f"the official splits of 2014{more}{', Visual Genome to train on' if asked.vg else ''}"
    )


def _file(root: Path, name: str) -> Path:
    """Return an annotation file: below the root, or in one of the folders that people unpack it into."""
    usual = [root / folder / name for folder in ("", "annotations", "questions", "vqa")]
    return next((one for one in usual if one.is_file()), usual[0])


def _list_split(lister: Lister, split: str) -> None:
    root = lister.asked.root
    asked_in = _file(root, f"v2_OpenEnded_mscoco_{split}2014_questions.json")
    told_in = _file(root, f"v2_mscoco_{split}2014_annotations.json")
    lister.found.files += [asked_in, told_in]
    answers = _answers(lister, read_json(told_in, f"the official answers of {split}"), told_in)
    questions = read_json(asked_in, f"the official questions of {split}")
    found: dict[int, Item] = {}
    seen: dict[int, int] = {}
    folder = f"{split}2014"
    for place, row in enumerate(rows_of(questions, "questions", noted(lister, asked_in))):
        where = f"{asked_in.name} questions[{place}]"
        number, image = (
            (row.get("question_id"), row.get("image_id")) if isinstance(row, dict) else (None, None)
        )
        if not is_id(number) or not is_id(image):
            lister.problems.add(
                f"{where}: got {shown(repr(row), 80)}; allowed: an object with `question_id`, `image_id` and `question`."
            )
            continue
        if number in seen:
            lister.problems.add(
                f"{where}: question_id {number} stands twice, in questions[{seen[number]}], too. Remove one."
            )
            continue
        seen[number] = place
        name = f"{folder}/COCO_{folder}_{image:012d}.jpg"
        text = lister.text("question", row.get("question"), name, where)
        given = answers.pop(number, None)
        if given is None:
            lister.leave_out(
                "question", name, where, f"question_id {number} has no answers in {told_in.name}"
            )
        elif text is not None and given:
            item = found.setdefault(image, Item(name=name, split=split, place=where, file=""))
            item.questions.append(Question(id=str(number), text=text, answers=given))
    for number in answers:
        lister.leave_out(
            "question", "", f"{told_in.name} question_id {number}", f"no such question is in {asked_in.name}"
        )
    _take(lister, found, folder, split)


def _take(lister: Lister, found: Mapping[int, Item], folder: str, split: str) -> None:
    names = [Path(found[image].name).name for image in sorted(found)]
    if not names:
        return
    where = first_folder(lister, (folder, f"images/{folder}", "images", ""), names, what=folder)
    for image in sorted(found):
        item = found[image]
        item.file = str(where / Path(item.name).name)
        lister.take(item)


def _answers(lister: Lister, told: Mapping[str, Any], file: Path) -> dict[int, tuple[str, ...]]:
    """Return question -> answers of all annotators; () where none of them is a text, which is noted."""
    found: dict[int, tuple[str, ...]] = {}
    others: Counter[int] = Counter()
    for place, row in enumerate(rows_of(told, "annotations", noted(lister, file))):
        where = f"{file.name} annotations[{place}]"
        number, rows = (row.get("question_id"), row.get("answers")) if isinstance(row, dict) else (None, None)
        if not is_id(number) or not isinstance(rows, list):
            lister.problems.add(
                f"{where}: got {shown(repr(row), 80)}; allowed: an object with `question_id` and the list `answers`."
            )
            continue
        if number in found:
            lister.problems.add(f"{where}: question_id {number} stands twice. Remove one.")
            continue
        values = [one.get("answer") if isinstance(one, dict) else one for one in rows]
        texts = [
            lister.text("answer", one, f"question {number}", f"{where}.answers[{n}]")
            for n, one in enumerate(values)
        ]
        found[number] = tuple(one for one in texts if one is not None)
        if not found[number]:
            lister.leave_out("question", f"question {number}", where, "none of its answers is a text")
        others[len(found[number])] += len(found[number]) != ANSWERS
    if fewer := sum(others.values()):
        lister.found.notes.append(
            f"WARNING: {fewer:,} questions of {file.name} have not {ANSWERS} answers; the accuracy is over those there are"
        )
    return found


def _list_vg(lister: Lister, file: Path) -> None:
    """List the questions of Visual Genome, which have one answer each, to train on."""
    lister.found.files.append(file)
    rows = read_any_json(file, "the questions of Visual Genome (question_answers.json)")
    if not isinstance(rows, list):
        raise DatasetError(
            f"--vg {file}: holds a {type(rows).__name__}; allowed: the list of question_answers.json."
        )
    folders = [file.parent / one for one in ("VG_100K", "VG_100K_2", "image", "images")]
    there = [one for one in folders if one.is_dir()]
    if not there:
        raise DatasetError(
            f"--vg {file}: there is none of {', '.join(one.name for one in folders)} beside it. Unpack the pictures there."
        )
    for place, row in enumerate(rows):
        where = f"{file.name}[{place}]"
        image = row.get("id", row.get("image_id")) if isinstance(row, dict) else None
        asked = row.get("qas") if isinstance(row, dict) else None
        if not is_id(image) or not isinstance(asked, list):
            lister.problems.add(
                f"{where}: got {shown(repr(row), 80)}; allowed: an object with `id` and the list `qas`."
            )
            continue
        name = f"{image}.jpg"
        at = next((one for one in there if isfile(one / name)), there[0])
        item = Item(name=f"VG/{name}", split="train", place=where, file=str(at / name))
        for n, one in enumerate(asked):
            told = one if isinstance(one, dict) else {}
            text = lister.text("question", told.get("question"), name, f"{where}.qas[{n}]")
            answer = lister.text("answer", told.get("answer"), name, f"{where}.qas[{n}]")
            if text is not None and answer is not None:
                item.questions.append(
                    Question(id=str(told.get("qa_id", "")), text=text, answers=(answer,), source=VG)
                )
        lister.take(item)
    lister.problems.raise_any()
