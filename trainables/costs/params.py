"""Number of parameters."""

from trainables.costs.subject import Subject


def params(subject: Subject) -> int:
    """Return the raw number of parameters: embeddings once, a decoder, and what is read of the teacher."""
    return sum(p.numel() for part in subject.parts.values() for p in part.model.parameters())
