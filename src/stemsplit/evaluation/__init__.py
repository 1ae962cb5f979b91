"""Scores of stems (in dB) and of melodies (as fractions): of arrays, files and folders."""
