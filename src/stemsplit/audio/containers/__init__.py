"""What the bytes of a file state before any decoder reads them: sizes, counts, tags, the order of channels."""
