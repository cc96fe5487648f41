"""Which losses of a candidate are trained: those that its student and the data can feed."""

from search.inputs.inputs import Inputs
from spaces.candidate import Candidate
from spaces.errors import ShapeError


def feedable_part(candidate: Candidate, inputs: Inputs) -> Candidate:
    """Return the candidate without the losses that its student or the data cannot feed.

    Raises:
        IllegalCandidate: no loss is left.
    """
    try:
        unfed = inputs.students.unfed(candidate)
    except ShapeError:
        return candidate  # the cost filter names the reason and records it
    return candidate.without_losses({*inputs.absent_losses, *unfed})
