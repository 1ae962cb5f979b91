"""stemsplit: split a song into vocals, bass, drums and other."""

__version__ = "0.1.0"
