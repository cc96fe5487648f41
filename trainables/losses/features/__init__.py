"""Losses on what a model holds inside: embeddings, states, attention and feature maps."""
