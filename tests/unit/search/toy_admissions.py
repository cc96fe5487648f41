"""Admissions for searcher tests: a space of toy students, built and admitted without any model."""

import math
from collections.abc import Mapping
from typing import Any

from search.proposal import Admitted, Proposal, Rejected, Waiting
from spaces.candidate import Candidate
from spaces.domains import Choice, Domain, Int, Log, Scalar
from spaces.errors import IllegalCandidate

DOMAINS: dict[str, Domain] = {
    "student.width": Choice(options=("0.25x", "0.5x", "0.75x")),
    "student.depth": Int(low=1, high=6),
    "losses.itm.weight": Log(low=0.1, high=10, zero=0.2),
    "training.lr": Log(low=5e-4, high=3e-3),
}
OBJECTIVES = {"retention": "max", "params": "min"}
WIDTHS = {"0.25x": 32, "0.5x": 64, "0.75x": 96}


def make_candidate(values: Mapping[str, Scalar], seed: int = 0, **more: Any) -> Candidate:
    config = {
        "student": {"width": WIDTHS[str(values["student.width"])], "depth": values["student.depth"]},
        "losses": {"itc": {"weight": 1.0}, "itm": {"weight": values["losses.itm.weight"]}},
        "training": {"lr": values["training.lr"], "epochs": 9},
        "blind": False,
    }
    return Candidate.of(config | more, seed)


def params_of(candidate: Candidate) -> int:
    student = candidate.config["student"]
    return int(student["width"] * student["depth"])


class ToyAdmissions:
    """Admits students of at most `limit` params; an odd depth above `legal_depth` cannot be built."""

    def __init__(self, *, limit: float = 1e9, legal_depth: int = 99) -> None:
        self.limit, self.legal_depth = limit, legal_depth
        self.rejected: list[tuple[Proposal, Rejected]] = []
        self.waited: list[Proposal] = []
        self.asked = 0

    def build(self, values: Mapping[str, Scalar], index: int) -> Proposal:
        if int(values["student.depth"]) > self.legal_depth:
            raise IllegalCandidate(
                f"student.depth: got {values['student.depth']}; allowed 1..{self.legal_depth}."
            )
        return Proposal(candidate=make_candidate(values), index=index, values=dict(values))

    def admit(self, candidate: Candidate) -> Admitted | Rejected | Waiting:
        self.asked += 1
        params = params_of(candidate)
        if params > self.limit:
            excess = params / self.limit
            limit = f"params <= {self.limit:g}"
            return Rejected(
                reason=f"params {params} over {self.limit:g}",
                costs={"params": params},
                limit=limit,
                excess=excess,
                shown=str(params),
            )
        return Admitted(costs={"params": params})

    def on_waiting(self, proposal: Proposal) -> None:
        self.waited.append(proposal)

    def await_figure(self, seconds: float) -> bool:
        return False

    def violation(self, costs: Mapping[str, float]) -> float:
        return math.log(max(costs["params"] / self.limit, 1.0)) if costs else math.inf

    def trial_config(self, proposal: Proposal, admitted: Admitted) -> dict[str, Any]:
        candidate = proposal.candidate
        return {
            "candidate_id": candidate.candidate_id,
            "role": "blind" if candidate.blind else "search",
            **admitted.costs,
        }

    def on_rejected(self, proposal: Proposal, rejected: Rejected) -> None:
        self.rejected.append((proposal, rejected))
