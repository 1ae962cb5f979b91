"""What songs say of themselves: the names of tags in each kind of file, and cover art."""
