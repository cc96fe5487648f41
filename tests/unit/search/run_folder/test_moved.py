"""Data and teachers that were moved: allowed on a resume where contents agree, from any folder, `~` and all."""

from pathlib import Path
from typing import Any

import pytest

from search.inputs.places import settled_data, settled_space, settled_teacher
from search.run import overrides, parser, request_of
from search.run_folder.facts import read_facts, write_facts
from search.run_folder.resume import check_in_place, check_same_inputs, moved
from search.start import Request, chosen_space
from spaces.errors import RunError
from spaces.load import Override, load_space
from spaces.paths import is_there, settled, user_path
from tests.unit.search.earlier_run import SPACE, prepare, write_run
from tests.unit.trainables.small import write_teacher
from trainables.teachers.loading import load_teacher

JSONL = SPACE.replace(
    "{kind: scenes, train_images: 48, val_images: 32, test_images: 32}", "{kind: jsonl, file: pairs.jsonl}"
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder without candidates."""
    return write_run(tmp_path / "run", prepare(tmp_path), [])


def noted(run: Path, **facts: Any) -> Path:
    """Change facts of a run."""
    write_facts(run, {**read_facts(run), **facts})
    return run


def test_paths_in_a_space_are_kept_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(JSONL)
    Path("pairs.jsonl").write_text("")
    Path("home/pictures").mkdir()
    Path("teach").mkdir()
    space = load_space("tiny.yaml", ["dataset.image_root='~/pictures'", "teacher=teach"])
    found = settled_space(space)
    assert found.dataset.options == {
        "file": str(tmp_path / "pairs.jsonl"),
        "image_root": str(tmp_path / "home/pictures"),
    }
    assert found.teacher == str(tmp_path / "teach")
    assert found.dataset.kind == "jsonl"
    assert space.dataset.options["file"] == "pairs.jsonl"
    Path("answers.txt").write_text("red\n")
    options = [
        "tasks={vqa: {decode: rank, answers: answers.txt}, captioning: {decode: beam, spice: none.jar}}"
    ]
    assert settled_space(load_space("tiny.yaml", options)).tasks == {
        "vqa": {"decode": "rank", "answers": str(tmp_path / "answers.txt")},
        "captioning": {"decode": "beam", "spice": "none.jar"},
    }
    assert settled_space(found) == found
    assert (
        load_space("tiny.yaml", ["dataset.file=none.jsonl"]).dataset
        == settled_space(load_space("tiny.yaml", ["dataset.file=none.jsonl"])).dataset
    )


def test_files_of_weights_in_a_space_are_kept_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(JSONL)
    Path("w.pth").write_text("")
    Path("home/w.pth").write_text("")
    alone = ["student={kind: timm, name: resnet18, pretrained: w.pth}"]
    assert settled_space(load_space("tiny.yaml", alone)).student.options == {
        "name": "resnet18",
        "pretrained": str(tmp_path / "w.pth"),
    }
    several = load_space(
        "tiny.yaml",
        [
            "student={kind: {choice: [timm, resnet]}, embedding: 8, timm: {name: resnet18, pretrained: ~/w.pth}}"
        ],
    )
    found = settled_space(several)
    assert found.student.own("timm") == {"name": "resnet18", "pretrained": str(tmp_path / "home/w.pth")}
    assert found.student.shared() == {"embedding": 8}
    beside = load_space("tiny.yaml", ["baselines={b: {kind: timm, name: resnet18, pretrained: w.pth}}"])
    assert settled_space(beside).baselines["b"].options["pretrained"] == str(tmp_path / "w.pth")
    assert settled_space(found) == found
    for typed in ("none.pth", "false"):
        space = load_space("tiny.yaml", [f"student={{kind: timm, name: resnet18, pretrained: {typed}}}"])
        assert settled_space(space).student == space.student


def test_the_embedded_teacher_keeps_its_name_though_a_folder_is_called_so() -> None:
    Path("embedded").mkdir()
    Path("owner").mkdir()
    assert settled_teacher("embedded") == "embedded"
    assert settled_teacher("owner/model") == "owner/model"


def test_home_folders_are_found_and_unknown_ones_left(tmp_path: Path) -> None:
    assert user_path("~/x") == tmp_path / "home" / "x"
    assert user_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    assert settled("a/b") == tmp_path / "a/b"
    Path("real/inner").mkdir(parents=True)
    Path("link").symlink_to("real/inner")
    assert settled("link") == tmp_path / "link"
    assert settled("link/../x") == tmp_path / "real" / "x"


@pytest.mark.parametrize("flag", ["--out", "--resume", "--space"])
def test_flags_that_name_a_path_know_home(flag: str, tmp_path: Path) -> None:
    request = request_of(parser().parse_args([f"{flag}=~/it"]))
    assert getattr(request, flag.removeprefix("--")) == tmp_path / "home" / "it"


def test_a_resume_may_say_where_data_and_teacher_lie_now() -> None:
    flags = [
        "--dataset",
        "jsonl:there.jsonl",
        "--teacher",
        "teach",
        "--set",
        "dataset.image_root=pictures",
        "--set",
        "dataset.file=x",
    ]
    request = request_of(parser().parse_args(["--resume", "run", *flags]))
    assert len(request.changes) == 4


def test_of_a_data_flag_the_file_alone_is_taken(run: Path) -> None:
    noted(run, dataset={"kind": "jsonl"})
    asked, _ = overrides(parser().parse_args(["--dataset", "jsonl:there.jsonl"]))
    assert moved(run, asked).changes == [
        Override("--dataset jsonl:there.jsonl", "dataset.file", "there.jsonl")
    ]
    other, _ = overrides(parser().parse_args(["--dataset", "scenes"]))
    with pytest.raises(
        RunError, match="got --dataset scenes; allowed: data of the kind that the run began with, jsonl"
    ):
        moved(run, other)


@pytest.mark.parametrize(
    ("flag", "option"),
    [
        ("imagefolder:there", "root"),
        ("parquet:there/*.parquet", "root"),
        ("jsonl:there", "file"),
        ("my_own:there", "file"),
    ],
)
def test_a_data_flag_sets_the_option_that_is_the_place(run: Path, flag: str, option: str) -> None:
    kind, place = flag.split(":")
    asked, _ = overrides(parser().parse_args(["--dataset", flag]))
    assert asked == [Override(f"--dataset {flag}", "dataset", {"kind": kind, option: place})]
    noted(run, dataset={"kind": kind})
    assert moved(run, asked).changes == [Override(f"--dataset {flag}", f"dataset.{option}", place)]


def test_folders_and_patterns_of_data_are_kept_from_the_root(tmp_path: Path) -> None:
    Path("rows").mkdir()
    Path("rows/train.parquet").write_text("")
    (tmp_path / "tiny.yaml").write_text(
        JSONL.replace("kind: jsonl, file: pairs.jsonl", "kind: parquet, root: 'rows/*.parquet'")
    )
    assert settled_space(load_space("tiny.yaml")).dataset.options == {
        "root": str(tmp_path / "rows/*.parquet")
    }
    elsewhere = settled_space(load_space("tiny.yaml", ["dataset.root='none/*.parquet'"]))
    assert elsewhere.dataset.options == {"root": "none/*.parquet"}
    check_in_place(tmp_path, {"kind": "parquet", "root": str(tmp_path / "rows/*.parquet")}, [])
    with pytest.raises(RunError, match=r"dataset.root /gone \(--dataset coco:FOLDER\)"):
        check_in_place(tmp_path, {"kind": "coco", "root": "/gone"}, [])


def test_an_empty_place_is_not_the_folder_one_is_in(tmp_path: Path) -> None:
    assert settled_data({"kind": "coco", "root": ""})["root"] == ""
    assert settled_data({"kind": "prepared", "root": ["a", ""]})["root"] == [str(tmp_path / "a"), ""]


def test_of_several_teachers_the_one_of_the_same_contents_is_moved(run: Path, tmp_path: Path) -> None:
    small = write_teacher(tmp_path / "small")
    fingerprints = {"embedded": "0", "old/place": load_teacher(str(small)).files.fingerprint}
    places = {"embedded": "embedded", "old/place": "/gone"}
    noted(run, teacher={"fingerprints": fingerprints, "places": places})
    change = moved(run, [Override("--teacher small", "teacher", "small")])
    assert (change.changes, change.places) == ([], {"embedded": "embedded", "old/place": "small"})
    with pytest.raises(RunError, match=r"the teacher embedded has fingerprint \w+; allowed: one of those"):
        moved(run, ["teacher=embedded"])


def test_what_is_gone_is_told_with_the_flag_that_mends_it(tmp_path: Path) -> None:
    data = {"kind": "jsonl", "file": "/gone/pairs.jsonl", "image_root": "/gone/pictures"}
    with pytest.raises(RunError) as error:
        check_in_place(tmp_path / "my run", data, ["embedded", "owner/model", "/gone/teacher"])
    told = str(error.value)
    assert "dataset.file /gone/pairs.jsonl (--dataset jsonl:FILE)" in told
    assert "dataset.image_root /gone/pictures (--set dataset.image_root=FOLDER)" in told
    assert "teacher /gone/teacher (--teacher FOLDER)" in told
    assert f"student-search run --resume '{tmp_path / 'my run'}' FLAG" in told
    assert "embedded" not in told
    check_in_place(tmp_path, {"kind": "scenes", "image_root": None}, ["embedded"])


def test_other_contents_are_refused_with_both_fingerprints(run: Path) -> None:
    noted(run, dataset={"kind": "jsonl", "fingerprint": "aaaa"})
    with pytest.raises(RunError, match="the dataset has fingerprint bbbb, the run began with aaaa"):
        check_same_inputs(run, {"dataset": "bbbb"})
    check_same_inputs(run, {"dataset": "aaaa"})


def test_the_space_of_a_run_is_read_with_the_new_place(run: Path, tmp_path: Path) -> None:
    noted(run, dataset={"kind": "scenes"})
    small = write_teacher(tmp_path / "small")
    request = Request(space=Path(), resume=run, changes=(Override("--teacher small", "teacher", "small"),))
    space, places, _ = chosen_space(request, say=print)
    assert (space.teacher, places) == (str(small), {})


def test_a_name_that_no_disk_can_hold_is_not_there() -> None:
    assert not is_there("a" * 300)
    assert not is_there(f"{'a' * 300}/*.jsonl")
