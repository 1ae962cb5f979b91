"""A song to try things on, with exact stems and melody. It is computed, with numpy alone."""

from stemsplit.demo.stems import DemoSong, synthesize_demo_song

__all__ = ["DemoSong", "synthesize_demo_song"]
