"""Files are written by `spaces.files` alone: there drafts, permissions, syncing and messages are right once for all."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("analysis", "search", "spaces", "trainables")
WRITER = Path("spaces/files.py")
BY_HAND = re.compile(
    r"os\.(replace|rename|fchmod)\(|tempfile\b|mkstemp|mkdtemp|NamedTemporaryFile|\.write_bytes\(|\bshutil\.(move|copytree)\("
)
TEXT = re.compile(r"\.write_text\(|\.mkdir\(")
OPENED = re.compile(r"open\([^)\n]*[\"'](?:[wax]b?|r\+b?|[wxa]t)\+?[\"']|OSFile\(.*[\"']wb")
INTO_A_DRAFT = re.compile(r"draft|temporary")  # what `atomic_path` gave

ALLOWED = {
    "search/run_folder/new_folder.py": (".mkdir(",),  # the one folder that must be new
    "search/tune/cluster.py": ("tempfile",),  # a copy of the code, gone when Ray has taken it
    "search/tune/code_for_nodes.py": (".mkdir(",),  # in that copy
    "trainables/tasks/caption_metrics.py": (
        "tempfile",
    ),  # what a program of others reads and writes, gone when it ends
    "search/run_folder/history.py": ("open(",),  # a stream that stays open; guarded there
}


def lines() -> list[tuple[str, int, str]]:
    files = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return [
        (str(file.relative_to(ROOT)), number, line)
        for file in files
        if file.relative_to(ROOT) != WRITER
        for number, line in enumerate(file.read_text().splitlines(), start=1)
    ]


def is_by_hand(line: str) -> bool:
    if BY_HAND.search(line) or TEXT.search(line):
        return True
    return bool(OPENED.search(line)) and not INTO_A_DRAFT.search(line)


def test_nobody_writes_files_by_hand() -> None:
    found = [
        f"{file}:{number}: {line.strip()}"
        for file, number, line in lines()
        if is_by_hand(line) and not any(word in line for word in ALLOWED.get(file, ()))
    ]
    assert found == [], "use spaces.files"


@pytest.mark.parametrize(
    "line",
    [
        'path.write_text("x")',
        "os.replace(draft, target)",
        "folder.mkdir(parents=True)",
        'with path.open("ab") as sink:',
        "with open(path, 'w') as sink:",
        'pa.OSFile(str(path), "wb")',
    ],
)
def test_each_way_around_the_writer_is_seen(line: str) -> None:
    assert is_by_hand(line)


@pytest.mark.parametrize(
    "line",
    ['with path.open("rb") as source:', 'pa.OSFile(str(draft), "wb") as sink', "write_text(path, text)"],
)
def test_reading_and_drafts_are_not(line: str) -> None:
    assert not is_by_hand(line)


def test_nothing_is_read_that_could_run_code() -> None:
    code = re.compile(r"pickle\.loads?\(|allow_pickle=True|weights_only=False|\bmarshal\b|\bshelve\b")
    bare = re.compile(r"np\.load\((?!.*allow_pickle=False)|torch\.load\((?!.*weights_only=True)")
    found = [f"{file}:{number}" for file, number, line in lines() if code.search(line) or bare.search(line)]
    assert found == []
