"""What a teacher said about the training examples: computed once, memory-mapped, shared by all trials of a node."""
