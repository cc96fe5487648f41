"""Students of a run trained longer and for each task, beside their teacher and two controls: what `finalise.py` does."""
