"""One training of one candidate: job, objects, step, loop, checkpoint."""
