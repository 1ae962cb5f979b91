"""Functions of tensors, without layers: readable versions, fast versions, and the native library."""
