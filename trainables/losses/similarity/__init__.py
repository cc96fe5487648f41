"""Losses on similarities: of pictures and captions, and of pictures among themselves."""
