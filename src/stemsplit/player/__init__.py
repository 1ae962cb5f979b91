"""A song's stems and melody → one HTML page that plays them, without a server and without the internet."""
