"""Ways to compute layers at inference, and the choice between them."""
