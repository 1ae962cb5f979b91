"""The stems of a song in the making: drums, bass, other and vocals, each (2, samples)."""
