"""`proposals.jsonl`: the values that a searcher proposed, for its memory after a resume."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import final

from search.proposal import Proposal
from spaces.domains import Scalar
from spaces.files import append
from spaces.ledger import read_lines

PROPOSALS_FILE = "proposals.jsonl"


@final
class ProposalLog:
    """One JSON line per proposal: candidate_id, proposal, values by path (`0.5x` where the table says 64)."""

    def __init__(self, folder: Path) -> None:
        """Take where it lies; it is read when somebody asks."""
        self.path = folder / PROPOSALS_FILE
        self._values: dict[str, dict[str, Scalar]] | None = None

    @property
    def values(self) -> Mapping[str, Mapping[str, Scalar]]:
        """Candidate id -> values, of all sessions; a line torn by a kill is left out."""
        if self._values is None:
            self._values = {}
            for fields in read_lines(self.path):
                try:
                    self._values[str(fields["candidate_id"])] = dict(fields["values"])
                except (ValueError, KeyError, TypeError):
                    continue  # the searcher then knows the candidate, but learns nothing from it
        return self._values

    def numbers(self) -> dict[str, int]:
        """Return candidate id -> number of its proposal, of all sessions."""
        return {
            str(fields["candidate_id"]): fields["proposal"]
            for fields in read_lines(self.path)
            if "candidate_id" in fields and isinstance(fields.get("proposal"), int)
        }

    def let_go(self) -> None:
        """Keep nothing in memory until somebody asks again."""
        self._values = None

    def append(self, proposal: Proposal) -> None:
        """Add a proposal; it is on disk when this returns. One that waited is told again when it becomes a row.

        Raises:
            StorageError: it cannot be written.
        """
        self.let_go()
        fields = {
            "candidate_id": proposal.candidate.candidate_id,
            "proposal": proposal.index,
            "values": dict(proposal.values),
        }
        append(self.path, json.dumps(fields) + "\n")
