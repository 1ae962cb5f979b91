"""Networks: their interfaces, the table of architectures, and a file for each architecture."""
