"""Latency of the candidates of a search on one target: measured beside it, never in its way."""
