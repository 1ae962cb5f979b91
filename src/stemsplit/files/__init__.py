"""The files that a run finds, names, keeps and writes beside its audio."""
