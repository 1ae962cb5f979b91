"""Scores: stems in dB and melodies in per cent, of arrays, files and folders."""
