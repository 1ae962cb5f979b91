"""Training: examples, losses, optimisers, the loop, and a task for each kind of network."""
