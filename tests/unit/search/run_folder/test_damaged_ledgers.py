"""Ledgers of a run that may come from anywhere: what can be read is, and the rest is left out or told."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.run_folder.proposal_log import PROPOSALS_FILE, ProposalLog
from search.run_folder.warm_start_file import WARM_START_FILE, read_earlier
from spaces.errors import RunError
from tests.damage import damaged

PROPOSALS = "".join(
    json.dumps({"candidate_id": f"{number:08x}", "proposal": number, "values": {"a.b": number}}) + "\n"
    for number in range(5)
).encode()
EARLIER = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {
            "candidate_id": "0123abcd",
            "seed": 0,
            "status": "finished",
            "values": {"a.b": 1},
            "costs": {"params": 1.0},
            "rows": [{"epoch": 1}],
            "config": {},
        },
        {"first": {"a.b": 1}},
    )
)


@pytest.mark.properties
@given(data=st.data())
def test_any_bytes_as_proposals(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / PROPOSALS_FILE).write_bytes(data.draw(damaged(PROPOSALS)))
    found = ProposalLog(folder).values
    assert all(isinstance(values, dict) for values in found.values())


@pytest.mark.properties
@given(data=st.data())
def test_any_bytes_as_earlier_results(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / WARM_START_FILE).write_bytes(data.draw(damaged(EARLIER)))
    said = ""
    try:
        read_earlier(folder)
    except RunError as error:
        said = str(error)
    assert not said or WARM_START_FILE in said


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "[]", '{"candidate_id": [], "values": 1}', '{"candidate_id": "a"}', "1" * 5000]
)
def test_a_line_of_another_form_is_left_out_and_the_others_are_read(tmp_path: Path, line: str) -> None:
    (tmp_path / PROPOSALS_FILE).write_bytes(
        PROPOSALS + line.encode() + b"\n" + PROPOSALS.replace(b"0000000", b"1111111")
    )
    assert len(ProposalLog(tmp_path).values) == 10
