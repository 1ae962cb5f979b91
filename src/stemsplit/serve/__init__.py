"""A web page and an API on this machine: songs are dropped, a worker separates them, the output folder keeps all."""
