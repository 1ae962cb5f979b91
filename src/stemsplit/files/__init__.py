"""The files around a run: its inputs, the names of its outputs, temporary stems, manifests, leftovers."""
