"""Notes and words → what karaoke programs read."""
