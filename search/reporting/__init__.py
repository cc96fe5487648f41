"""What a search says of itself: plan, catalogue, progress, and the figures at its end."""
