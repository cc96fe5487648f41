"""Whoever waited for its latency when a session ended is no row of the table, and is taken up by the next one."""

from pathlib import Path

from search.candidates.first_candidates import plan_search
from search.proposal import Admitted
from tests.unit.search.earlier_run import DEFAULTS, load_recorder, open_admissions, prepare


def test_a_resume_goes_on_with_those_that_waited_for_their_latency(tmp_path: Path) -> None:
    inputs = prepare(tmp_path)
    recorder = load_recorder(tmp_path, inputs)
    admissions = open_admissions(inputs, tmp_path, recorder)
    waits = [admissions.build({**DEFAULTS, "losses.lm.weight": 0.2 + n / 10}, n) for n in range(3)]
    for proposal in waits:
        admissions.on_waiting(proposal)
    answer = admissions.admit(waits[1].candidate)
    assert isinstance(answer, Admitted)
    admissions.trial_config(waits[1], answer)  # one of them has become a trial
    recorder.finish(waits[1].candidate.candidate_id, "crashed")
    recorder.close()
    again = load_recorder(tmp_path, inputs)
    plan = plan_search(inputs, again, open_admissions(inputs, tmp_path, again))
    assert [queued.proposal for queued in plan.queue if queued.proposal.index >= 0] == [waits[0], waits[2]]
    assert plan.start_index == 3
