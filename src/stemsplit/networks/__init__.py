"""Networks: what they promise, the table of architectures, and a file for each of them."""
