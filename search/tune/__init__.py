"""Ray: the cluster, and what Ray Tune calls while a search runs."""
