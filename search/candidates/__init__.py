"""Candidates: what a search needs to build them, what they cost, and which come first."""
