"""Losses on logits: the teacher's distributions, and the cross entropies of labels and tokens."""
