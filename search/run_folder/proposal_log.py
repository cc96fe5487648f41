"""`proposals.jsonl`: the values that a searcher proposed, for its memory after a resume."""

import json
import os
from pathlib import Path
from typing import final

from search.proposal import Proposal
from spaces.domains import Scalar

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
                self.values[fields["candidate_id"]] = fields["values"]
            except (ValueError, KeyError, TypeError):
                continue  # torn: the searcher then knows the candidate, but learns nothing from it

    def append(self, proposal: Proposal) -> None:
        """Add a proposal; it is on disk when this returns."""
        candidate_id = proposal.candidate.candidate_id
        self.values[candidate_id] = dict(proposal.values)
        fields = {"candidate_id": candidate_id, "proposal": proposal.index, "values": dict(proposal.values)}
        torn = self.path.exists() and self.path.stat().st_size > 0 and not self._ends_with_newline()
        with self.path.open("ab") as stream:
            stream.write(b"\n" * torn + json.dumps(fields).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _ends_with_newline(self) -> bool:
        """Return whether the last line is whole."""
        with self.path.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read() == b"\n"
