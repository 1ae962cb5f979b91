"""Many songs at once: one scheduler, and two kinds of workers: processes of this machine, actors of a Ray cluster."""
