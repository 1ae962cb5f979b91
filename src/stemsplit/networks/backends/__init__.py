"""Backends, which compute layers at inference, and the choice of one."""
