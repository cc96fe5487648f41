"""Keeping house among the caches: what is told of them, and what goes."""

import os
import sys
from pathlib import Path

import pytest

from spaces.owner import OWNER_FILE, Place, owned
from tests.unit.trainables.small import silent
from tests.unit.trainables.teachers.cache.caches import Watched, contents_of, parts
from trainables.datasets.cache_folder import STORAGE
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Want
from trainables.teachers.cache.__main__ import main
from trainables.teachers.cache.contents import read_contents
from trainables.teachers.cache.fill import Filling, build_cache, fill_cache
from trainables.teachers.cache.keeping import ROOM, kept_caches
from trainables.teachers.cache.plan import Kept
from trainables.teachers.teacher import Teacher

IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")
WHOLE, BEGUN, PARTLY, OLD = "aaaa0000aaaa0000", "bbbb0000bbbb0000", "cccc0000cccc0000", "dddd0000dddd0000"


def begin(folder: Path, owner: Teacher, split: EncodedSplit, want: Want) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_cache(
            folder,
            Watched(owner, fail_after=1),
            split,
            frozenset({want}),
            precision="float32",
            progress=silent,
        )


@pytest.fixture
def storage(owner: Teacher, split: EncodedSplit, tmp_path: Path) -> Path:
    """Four caches: a whole one, one that was begun, one of both, and one of an earlier version."""
    room = tmp_path / ROOM
    told = {"teacher": "mine", "data": "scenes", "split": "train"}
    for name in (WHOLE, PARTLY):
        kept = Kept(precision="float32", told=told)
        fill_cache(room / name, owner, split, frozenset({IMAGE}), kept, Filling(say=silent))
    begin(room / BEGUN, owner, split, IMAGE)
    begin(room / PARTLY, owner, split, TEXT)
    (room / OLD).mkdir()
    (room / OLD / "meta.json").write_text('{"teacher": "0123"}')
    (room / OLD / "image.embedding.npy").write_bytes(bytes(3000))
    return tmp_path


def test_the_list_tells_size_state_and_whose_signals(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--list", "--storage", str(storage)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    told = {line.split()[0]: line for line in lines}
    assert set(told) == {WHOLE, BEGUN, PARTLY, OLD}
    assert "days  complete, 1 signals in float32  teacher=mine data=scenes split=train" in told[WHOLE]
    assert " incomplete, 0 signals" in told[BEGUN]
    assert " complete and begun, 1 signals" in told[PARTLY]
    assert told[OLD].endswith(" unreadable")
    assert last.startswith("4 caches, ")
    assert last.endswith(f" in {storage / ROOM}")


@pytest.mark.parametrize("look", [1, 2])
def test_a_file_that_gets_its_place_meanwhile_is_no_mistake(
    look: int, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process fills: what is listed as a draft is a part by the time that it is looked at."""
    monkeypatch.setenv(STORAGE, str(storage))
    before, looked, real = kept_caches(), [0], Path.stat
    draft = before[0].folder / ".draft-of-another-process"
    draft.write_bytes(b"")

    def stat(path: Path, **how: bool) -> os.stat_result:
        if path == draft:
            looked[0] += 1
            if looked[0] == look:
                raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    assert [(one.folder, one.size) for one in kept_caches()] == [(one.folder, one.size) for one in before]


def test_nothing_goes_before_it_is_confirmed(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(storage.rglob("*"))
    assert main(["--prune", "all", "--storage", str(storage)]) == 0
    told = capsys.readouterr().out
    assert told.count("would remove ") == 4
    assert "nothing was removed: add --yes" in told
    assert sorted(storage.rglob("*")) == before


def test_what_is_named_goes_and_what_is_whole_stays(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = storage / ROOM
    whole = contents_of(room / WHOLE)
    assert len(parts(room / PARTLY)) == 3
    assert main(["--prune", "incomplete", "unreadable", "--yes", "--storage", str(storage)]) == 0
    assert sorted(path.name for path in room.iterdir()) == [WHOLE, PARTLY]
    assert contents_of(room / WHOLE) == whole
    assert read_contents(room / PARTLY).wants == {IMAGE}
    assert contents_of(room / PARTLY) == whole
    assert "of it, which was begun and never finished" in capsys.readouterr().out
    assert main(["--prune", PARTLY[:5], "--yes", "--storage", str(storage)]) == 0
    assert [path.name for path in room.iterdir()] == [WHOLE]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("everything", "got 'everything'; allowed: the beginning of a key"),
        ("0123", "no cache has a key that begins so"),
    ],
)
def test_a_word_that_names_nothing_is_told(
    storage: Path, capsys: pytest.CaptureFixture[str], word: str, said: str
) -> None:
    assert main(["--prune", word, "--yes", "--storage", str(storage)]) == 2
    assert said in capsys.readouterr().err


def test_a_cache_that_is_being_filled_is_left_alone(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = storage / ROOM / WHOLE
    before = contents_of(folder)
    with owned(Place(noun="teacher cache", path=folder, mark=folder / OWNER_FILE, ends=False), say=silent):
        assert main(["--prune", WHOLE, "--yes", "--storage", str(storage)]) == 0
    assert "fills it; left as it is" in capsys.readouterr().err
    assert contents_of(folder) == before


def test_a_space_is_handed_to_the_room_that_knows_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: ran.append(words))
    main(["--space", "spaces/dlip.yaml", "--set", "search.seed=3"])
    told = ["--space", "spaces/dlip.yaml", "--set", "search.seed=3"]
    assert ran == [[sys.executable, "-m", "search.results.teacher_caches", *told]]
