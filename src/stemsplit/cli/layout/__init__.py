"""How the command line's help and tables are laid out: text in, lines of a given width out."""
