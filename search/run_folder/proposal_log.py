"""`proposals.jsonl`: the values that a searcher proposed, for its memory after a resume."""

import json
from pathlib import Path
from typing import final

from search.proposal import Proposal
from spaces.domains import Scalar
from spaces.files import append

PROPOSALS_FILE = "proposals.jsonl"


@final
class ProposalLog:
    """One JSON line per proposal: candidate_id, proposal, values by path (`0.5x` where the table says 64).

    Attributes:
        values: candidate id -> values, of all sessions.
    """

    def __init__(self, folder: Path) -> None:
        """Read what earlier sessions wrote; a line torn by a kill is left out."""
        self.path = folder / PROPOSALS_FILE
        self.values: dict[str, dict[str, Scalar]] = {}
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                fields = json.loads(line)
                self.values[str(fields["candidate_id"])] = dict(fields["values"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # torn: the searcher then knows the candidate, but learns nothing from it

    def append(self, proposal: Proposal) -> None:
        """Add a proposal; it is on disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        candidate_id = proposal.candidate.candidate_id
        self.values[candidate_id] = dict(proposal.values)
        fields = {"candidate_id": candidate_id, "proposal": proposal.index, "values": dict(proposal.values)}
        append(self.path, json.dumps(fields) + "\n")
