"""Recorded music to train on: where it comes from, under which licences, and what is left out."""
