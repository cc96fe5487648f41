"""What is made of the students of a finished run: model folders, and the control."""
