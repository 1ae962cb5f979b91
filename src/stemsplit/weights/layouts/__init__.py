"""Public checkpoints, a file for each family: how to tell one, its config, and its tensors in our layout."""
