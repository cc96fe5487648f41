"""What ends a search: rules, time used, and the hypervolume that they watch."""
