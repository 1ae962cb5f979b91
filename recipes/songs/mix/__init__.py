"""What becomes of it: tone, rooms, levels, the mix bus."""
