"""Where all that is derived lies, and what every node must see of it."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.inputs.places import chosen_storage, copied_parts, copied_teacher, stored
from search.tune import shared
from spaces.errors import InputsChanged, ResourceError, StorageError, TeacherError
from tests.unit.trainables.small import write_teacher
from tests.unit.trainables.teachers.blip.originals import written
from trainables.datasets.cache_folder import STORAGE, cache_folder, storage, stored_in, unusable
from trainables.teachers.loading import load_teacher
from trainables.teachers.naming import checkpoints_of


@pytest.fixture(autouse=True)
def no_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STORAGE, raising=False)


def test_the_flag_wins_then_the_variable_then_the_run_then_the_place_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, runs = tmp_path / "kept", tmp_path / "runs"
    kept.mkdir()
    monkeypatch.chdir(tmp_path)
    assert chosen_storage(None, kept="", runs=None) is None
    assert chosen_storage(None, kept="", runs=Path("runs"))[0] == runs / ".storage"  # type: ignore[index]
    assert chosen_storage(None, kept=str(kept), runs=runs)[0] == kept  # type: ignore[index]
    assert chosen_storage(None, kept=str(tmp_path / "gone"), runs=runs)[0] == runs / ".storage"  # type: ignore[index]
    monkeypatch.setenv(STORAGE, "named")
    assert chosen_storage(None, kept=str(kept), runs=runs) == (tmp_path / "named", STORAGE)
    assert chosen_storage(Path("here"), kept=str(kept), runs=runs) == (tmp_path / "here", "--storage")


def test_all_caches_lie_in_it_as_long_as_the_block_lasts_and_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    said: list[str] = []
    with stored(tmp_path / "all", kept="", runs=None, say=said.append):
        assert cache_folder("costs") == tmp_path / "all" / "costs"
        assert storage() == os.environ[STORAGE] == str(tmp_path / "all")  # processes below find it, too
    assert said == [f"storage: {tmp_path}/all (--storage)"]
    assert cache_folder("costs") == tmp_path / "user" / "student-search" / "costs"
    with stored(None, kept="", runs=None, say=said.append):
        assert storage() == ""
    assert len(said) == 1


def test_one_that_cannot_be_made_is_told_with_the_flag(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"^storage .*file/x: cannot be made.*--storage /a/folder"),
        stored(tmp_path / "file" / "x", kept="", runs=None, say=print),
    ):
        raise AssertionError("unreachable")


@pytest.mark.parametrize("number", [28, 30, 13])
def test_a_full_or_read_only_storage_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv(STORAGE, str(tmp_path))
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match=r"^storage .*cannot be made: .*--storage /a/folder"):
        cache_folder("costs")
    assert "--storage" in unusable(tmp_path / "a", PermissionError(13, "Permission denied"), "made again")


def test_a_machine_that_does_not_see_it_says_so_by_name(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with (
        pytest.raises(
            InputsChanged, match=rf"^storage {gone}: {os.uname().nodename} does not see this folder"
        ),
        stored_in(str(gone)),
    ):
        raise AssertionError("unreachable")
    assert not gone.exists(), "a folder of its own would hide that"
    assert storage() == ""


def test_a_teacher_is_copied_once_with_all_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_teacher(tmp_path / "teacher")
    monkeypatch.setenv(STORAGE, str(tmp_path / "all"))
    (folder / "unrelated").mkdir()
    known, said = load_teacher(str(folder)).files.fingerprint, []  # type: ignore[var-annotated]
    copy = copied_teacher("mine", folder, known, say=said.append)
    assert copy.is_relative_to(tmp_path / "all")
    assert load_teacher(str(copy)).files.fingerprint == known
    assert {path.name for path in copy.iterdir()} == {
        path.name for path in folder.iterdir() if path.is_file()
    }
    assert copied_teacher("mine", folder, known, say=said.append) == copy
    assert len(said) == 1
    with pytest.raises(
        TeacherError, match=r"teacher mine: its copy .* has fingerprint .* where every node sees it"
    ):
        copied_teacher("mine", folder, "another", say=said.append)


def test_parts_and_files_are_copied_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (write_teacher(tmp_path / name, seed) for seed, name in enumerate(("one", "two")))
    monkeypatch.setenv(STORAGE, str(tmp_path / "all"))
    name, said = f"retrieval={one},captioning={two}", list[str]()
    known = load_teacher(name).files.fingerprint
    copy = copied_parts(name, known, say=said.append)
    assert all(Path(part).is_relative_to(tmp_path / "all") for part in checkpoints_of(copy))
    assert load_teacher(copy).files.fingerprint == known
    assert copied_parts(name, known, say=said.append) == copy
    assert len(said) == 2
    assert copied_parts("embedded", load_teacher("embedded").files.fingerprint, say=said.append) == "embedded"


def test_of_a_file_of_weights_only_what_belongs_to_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, _ = written(tmp_path, "retrieval")
    others = ("other.pth", "letters.txt", "pictures.zip")  # a folder of downloads holds anything
    for name in others:
        (weights.parent / name).write_text("mine alone")
    monkeypatch.setenv(STORAGE, str(tmp_path / "all"))
    known = load_teacher(str(weights)).files.fingerprint
    copy = Path(copied_parts(str(weights), known, say=lambda line: None))
    assert {path.name for path in copy.parent.iterdir()} == {"model.pth", "vocab.txt", "tokenizer.json"}
    assert load_teacher(str(copy)).files.fingerprint == known


class TestEachNode:
    """What a node says of a folder, and what the user is told of it."""

    def test_sees_what_is_there(self, tmp_path: Path) -> None:
        mark = tmp_path / f"{shared.MARK}abc"
        assert shared.look(str(mark), "abc") == "do not see it"
        mark.write_text("abc")
        assert shared.look(str(mark), "abc") == ""
        assert [path.name for path in tmp_path.iterdir()] == [mark.name]
        mark.write_text("other")
        assert shared.look(str(mark), "abc") == "see another folder there"
        assert shared.look(str(tmp_path), "") == ""
        assert shared.look(str(tmp_path), str(tmp_path.stat().st_ino)) == ""
        assert shared.look(str(tmp_path), "1") == "see another folder there"

    def test_may_not_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path, text: str) -> None:
            raise StorageError(f"{path}: cannot be written: read-only.")

        mark = tmp_path / f"{shared.MARK}abc"
        mark.write_text("abc")
        monkeypatch.setattr(shared, "write_text", refuse)
        assert shared.look(str(mark), "abc").startswith("cannot write there (")

    def test_is_named_with_the_flag_that_names_another_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[str, str]] = []

        def answers(path: str, token: str) -> dict[str, str]:
            asked.append((path, token))
            assert Path(path).read_text() == token
            return {"10.0.0.2": "do not see it", "10.0.0.3": "do not see it"}

        util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1")
        ray: Any = SimpleNamespace(nodes=lambda: [{"Alive": True}] * 3, util=util)
        monkeypatch.setattr(shared, "ray", ray)
        monkeypatch.setattr(shared, "_look_everywhere", answers)
        with pytest.raises(
            ResourceError,
            match=rf"^--storage {tmp_path}: the nodes 10\.0\.0\.2, 10\.0\.0\.3 do not see it\. .*with --storage \(",
        ):
            shared.check_seen({"--storage": tmp_path})
        assert list(tmp_path.iterdir()) == []
        assert len(asked) == 1

    def test_alone_is_not_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared, "ray", SimpleNamespace(nodes=lambda: [{"Alive": True}, {"Alive": False}]))
        monkeypatch.setattr(shared, "_look_everywhere", lambda *_: pytest.fail("nobody to ask"))
        shared.check_seen({"--storage": tmp_path / "not even there"})

    @pytest.mark.parametrize("blind", ["one", "two"])
    def test_is_heard_though_another_one_has_its_address(
        self, blind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Several containers of a machine are nodes of one address, and may see different folders."""

        def remote(**options: Any) -> Any:
            return lambda question: SimpleNamespace(
                options=lambda scheduling_strategy: asking(question, scheduling_strategy)
            )

        def asking(question: Any, node: str) -> Any:
            return SimpleNamespace(remote=lambda *arguments: question(node, *arguments))

        nodes = [{"Alive": True, "NodeID": name, "NodeManagerAddress": "10.0.0.2"} for name in ("one", "two")]
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda name, soft: name)
        ray = SimpleNamespace(
            nodes=lambda: nodes,
            remote=remote,
            get=lambda said: said,
            util=SimpleNamespace(scheduling_strategies=strategies),
        )
        monkeypatch.setattr(shared, "ray", ray)
        monkeypatch.setattr(shared, "look", lambda node, path, token: shared.UNSEEN if node == blind else "")
        assert shared.unseen(["/data"]) == ["10.0.0.2"]
