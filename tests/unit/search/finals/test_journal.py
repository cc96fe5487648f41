"""`finalised.json`: rows come in the place of older ones, and what other requests have found stays."""

from pathlib import Path
from typing import Any

from analysis.seeds.finals_file import read_finals
from search.finals.journal import Journal


def request(*candidates: str, **changes: Any) -> dict[str, Any]:
    told = {
        "epochs": 4,
        "fine_tune": 0,
        "seeds": 1,
        "counts": {"vqa": "vqa_accuracy"},
        "split": "test",
        "command": "",
    }
    named = {"candidates": list(candidates), "teachers": dict.fromkeys(candidates, "embedded"), "domains": []}
    return {**told, **named, **changes}


def row(candidate_id: str, value: float, **changes: Any) -> dict[str, Any]:
    fields = {"candidate_id": candidate_id, "method": "student", "seed": 0, "stage": "longer", "domain": ""}
    return {**fields, "epochs": 4, "metrics": {"vqa_accuracy": value}, **changes}


def finals(folder: Path) -> list[dict[str, Any]]:
    known = read_finals(folder)
    assert known is not None
    found: list[dict[str, Any]] = known["finals"]
    return found


def test_a_row_takes_the_place_of_the_same_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path, request("aa"), "key")
    journal.add([row("aa", 1.0), row("aa", 2.0, seed=1)])
    journal.add([row("aa", 3.0)])
    assert [one["metrics"]["vqa_accuracy"] for one in finals(tmp_path)[0]["rows"]] == [3.0, 2.0]


def test_the_same_request_for_another_student_goes_on_with_the_same_tables(tmp_path: Path) -> None:
    Journal(tmp_path, request("aa"), "key").add([row("aa", 1.0)])
    later = Journal(tmp_path, request("bb", seeds=3), "key")
    later.add([row("bb", 2.0)])
    (only,) = finals(tmp_path)
    assert only["candidates"] == ["aa", "bb"]
    assert only["teachers"] == {"aa": "embedded", "bb": "embedded"}
    assert only["seeds"] == 3
    assert [one["candidate_id"] for one in only["rows"]] == ["aa", "bb"]


def test_what_another_request_has_found_stays_and_the_last_one_stands_last(tmp_path: Path) -> None:
    Journal(tmp_path, request("aa"), "key").add([row("aa", 1.0)])
    Journal(tmp_path, request("aa", epochs=9), "other").add([row("aa", 5.0)])
    assert [one["epochs"] for one in finals(tmp_path)] == [4, 9]
    Journal(tmp_path, request("aa"), "key").write()
    first, last = finals(tmp_path)
    assert (first["epochs"], last["epochs"]) == (9, 4)
    assert last["rows"][0]["metrics"] == {"vqa_accuracy": 1.0}
