"""A song to try things on, with exact stems and melody, made of numpy alone."""
