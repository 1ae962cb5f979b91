"""The renderer of training songs: composed, played, sung and mixed from a seed, with exact stems."""
