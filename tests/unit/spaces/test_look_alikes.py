"""Names that look like known ones: letters of other alphabets, Unicode forms, `-` for `_`, case, plural, invisible letters."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from search.inputs.plugin_checks import check_plugins
from search.run import parser
from spaces.errors import PluginError, SpaceError
from spaces.load import Override, load_space
from spaces.plugins import Table, folded, meant, near, resolve
from tests.unit.spaces.test_any_text import SMALL

LETTERS = " (some of those here only look like them)"


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("іtс", "itc"),  # Cyrillic i and es
        ("ΙTC", "itc"),  # Greek capital iota: folded, it is a small one
        ("ѕtudent", "student"),
        ("νqa", "vqa"),  # Greek nu
        ("ｉｔｃ", "itc"),  # full width
        ("𝐢𝐭𝐜", "itc"),  # mathematical bold
        ("ﬁle", "file"),  # a ligature
        ("batch‐size", "batch_size"),  # U+2010
        ("batch–size", "batch_size"),
        ("batch size", "batch_size"),
        ("batch\u00a0size", "batch_size"),  # a space that does not break
        ("Batch-Size", "batch_size"),
        ("BATCH_SIZE", "batch_size"),
        ("i\u200btc", "itc"),  # zero width
        ("\ufeffitc", "itc"),
        ("itc\u00ad", "itc"),
    ],
)
def test_what_the_eye_does_not_tell_apart_is_one_name(written: str, plain: str) -> None:
    assert written != plain
    assert folded(written) == plain
    assert near(written, [plain, "zzz"]) == plain


@pytest.mark.parametrize("other", ["itm", "lm", "itc2"])
def test_what_the_eye_tells_apart_stays_apart(other: str) -> None:
    assert folded(other) != folded("itc")


def test_a_guess_says_that_letters_only_look_alike() -> None:
    known = ["itc", "batch_size", "losses"]
    assert meant("іtc", known) == f"Did you mean 'itc', in plain letters{LETTERS}?"
    assert meant("i\u200btc", known) == f"Did you mean 'itc', in plain letters{LETTERS}?"
    assert meant("ITC", known) == "Did you mean 'itc'?"
    assert meant("batch-size", known) == "Did you mean 'batch_size'?"
    assert meant("loss", known) == "Did you mean 'losses'?"
    assert meant("іtd", known) == "Did you mean 'itc'?"  # more than the alphabet is wrong
    assert meant("itc", known, quoted=False) == "Did you mean itc?"
    assert meant("zzz", known, "Delete it.") == "Delete it."
    assert meant("", known, "Delete it.") == "Delete it."
    assert meant("x" * 100_000, known) == ""


def test_of_known_names_that_fold_to_one_some_one_is_meant() -> None:
    assert near("ITC", ["itc", "Itc"]) in ("itc", "Itc")


Told = Callable[..., str]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """Return a function that gives the one problem of the small space after a replacement, or with settings."""

    def function(old: str = "", new: str = "", settings: Sequence[str | Override] = ()) -> str:
        assert old in SMALL
        (tmp_path / "s.yaml").write_text(SMALL.replace(old, new, 1) if old else SMALL, encoding="utf-8")
        with pytest.raises(SpaceError) as caught:
            check_plugins(load_space(tmp_path / "s.yaml", settings))
        (problem,) = caught.value.problems
        return problem.replace(f"{tmp_path}/", "")

    return function


PLACES = {
    "a section": ("training:", "trаining:", "trаining", "'training'"),
    "a key of a section": ("batch_size:", "batch‐size:", "batch‐size", "'batch_size'"),
    "a key in another case": ("batch_size:", "Batch_Size:", "Batch_Size", "'batch_size'"),
    "an option of a student": ("text: {width: 64, depth: 3,", "text: {width: 64, depth: 3, hеads: 2,", "hеads", "'heads'"),
    "a loss": ("itc: {", "іtc: {", "іtc", "'itc'"),
    "a loss in the plural": ("image_hidden:", "image-hiddens:", "image-hiddens", "'image_hidden'"),
    "an option of a loss": ("tokens:", "tоkens:", "tоkens", "'tokens'"),
    "a task": ("[retrieval, vqa]", "[retrieval, νqa]", "νqa", "'vqa'"),
    "an objective": ("retention: max", "rеtention: max", "rеtention", "'retention'"),
    "a cost with a limit": ("limits: {params", "limits: {рarams", "рarams", "'params'"),
    "a kind of data": ("kind: scenes", "kind: scеnes", "scеnes", "'scenes'"),
    "a kind of student": ("kind: blip", "kind: bliр", "bliр", "'blip'"),
    "a searcher": ("kind: evolution", "kind: Evolution", "Evolution", "'evolution'"),
    "a scheduler": ("kind: moasha", "kind: mоasha", "mоasha", "'moasha'"),
    "a domain": ("{log: [2, 60], zero", "{lоg: [2, 60], zero", "lоg", "log"),
    "a key of a domain": ("zero: 0.1", "zerо: 0.1", "zerо", "zero"),
    "a path in a condition": ("when: {student.image.depth:", "when: {student.imаge.depth:", "imаge", "'student.image.depth'"),
    "a path of a start point": ("- {student.image.depth: 2}", "- {student.image.dеpth: 2}", "dеpth", "'student.image.depth'"),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_look_alike_is_told_once_in_every_place(told: Told, place: str) -> None:
    old, new, written, name = PLACES[place]
    problem = told(old, new)
    assert written in problem
    assert f"Did you mean {name}" in problem
    assert ("only look like them" in problem) == (not written.isascii())


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("trаining.epochs=3", "'training'"),
        ("training.epoсhs=3", "'epochs'"),
        ("training.batch-size=32", "'batch_size'"),
        ("Training.epochs=3", "'training'"),
        ("losses.іtm.weight=1", "'itm'"),
        ("student.imаge.width=32", "'image'"),
        ("search.searcher.kind=rаndom", "'random'"),
    ],
)
def test_a_look_alike_in_a_setting_is_told(told: Told, setting: str, name: str) -> None:
    assert f"Did you mean {name}" in told(settings=[setting])


def test_a_look_alike_as_the_value_of_a_flag_is_told(told: Told) -> None:
    problem = told(settings=[Override("--dataset scеnes", "dataset", {"kind": "scеnes"})])
    assert problem.startswith("--dataset scеnes, dataset: ")
    assert "Did you mean 'scenes', in plain letters" in problem
    complaint = io.StringIO()
    with redirect_stderr(complaint), pytest.raises(SystemExit):
        parser().parse_args(["--list", "lоsses"])
    assert "lоsses" in complaint.getvalue()
    assert "losses" in complaint.getvalue()


def test_a_look_alike_of_a_plug_in_is_told_wherever_it_is_resolved() -> None:
    with pytest.raises(PluginError, match="Did you mean 'itc', in plain letters"):
        resolve(Table("losses", {"itc": "collections:Counter", "lm": "collections:Counter"}), "іtc")
