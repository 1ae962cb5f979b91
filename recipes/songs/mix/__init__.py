"""What becomes of sounds: effects, rooms, levels, and the mix bus."""
