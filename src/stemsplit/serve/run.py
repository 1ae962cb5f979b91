"""The server on its socket, until it is told to end."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from stemsplit.errors import UsageError, reason
from stemsplit.serve.guard import is_loopback

LEAST_TOKEN = 12
"""Letters of a token: a shorter one can be guessed."""
MOST_CONNECTIONS, WAITING_CONNECTIONS = 200, 128
SECONDS_TO_FINISH = 3
"""For answers that are under way when the server ends."""


def check_token(token: str | None) -> None:
    """Refuse a token that can be guessed, or that no header can hold. Raises: UsageError."""
    if token is not None and (len(token) < LEAST_TOKEN or not re.fullmatch(r"[\w.~+/=-]+", token, re.ASCII)):
        raise UsageError(f"--token: give at least {LEAST_TOKEN} letters and digits, which nobody can guess")


def bound(host: str, port: int, token: str | None) -> socket.socket:
    """Return a socket that listens. Raises: UsageError, also if other machines can reach it and there is no token."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        if token is None and not is_loopback(str(place[0])):
            raise UsageError(
                f"--host {host} can be reached from other machines: add --token SECRET, which every request needs "
                "then, or leave out --host"
            )
        found = socket.socket(family, kind)
        try:
            if os.name == "posix":  # else a second server could take the port over
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(place)
            found.listen(WAITING_CONNECTIONS)
        except BaseException:
            found.close()
            raise
    except (OSError, OverflowError, ValueError) as error:  # what is no name of a host is a ValueError
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"cannot listen at {host}, port {port}: {why}; choose another --port, or 0 for any free one"
        ) from error
    return found


def address(host: str, listening: socket.socket) -> str:
    """Return the address of the page."""
    port = listening.getsockname()[1]
    host = socket.gethostname() if host in ("", "0.0.0.0", "::") else host  # all addresses of this machine
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Running:
    """A server that can be asked whether it is about to end."""

    def __init__(self, make: Callable[[Callable[[], bool]], ASGIApp], *, debug: bool = False) -> None:
        app = make(lambda: self.server.should_exit)
        self.server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="info" if debug else "critical",  # errors are answered, and told by who made the application
                access_log=debug,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=SECONDS_TO_FINISH,
            )
        )

    def run(self, listening: socket.socket) -> None:
        """Answer requests until Ctrl-C or its kin, which goes on as it would without a server."""
        self.server.run(sockets=[listening])
