"""A song to try things on, with exact stems and melody. It is computed, with numpy alone."""
