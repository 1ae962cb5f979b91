"""float32 blocks → the bytes of a codec, in an open file."""
