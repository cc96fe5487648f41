"""Number of parameters."""

from trainables.costs.subject import Subject


def params(subject: Subject) -> int:
    """Return the raw number of parameters: embeddings once, the decoder where the model has one, and what it reads of its teacher."""
    return sum(p.numel() for part in subject.parts.values() for p in part.model.parameters())
