"""Separating a stream: source, chunks, network within the memory there is, overlap-add, outputs."""
