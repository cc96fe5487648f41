"""The embedded task: procedural scenes of shapes with captions, questions and answers."""
