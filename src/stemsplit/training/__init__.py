"""Training: songs, data, losses, the loop."""
