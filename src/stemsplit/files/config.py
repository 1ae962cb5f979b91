"""The user's own defaults: a TOML file with a table for each command.

    [separate]
    output = "~/stems"
    format = "flac"

It is config.toml in the folder that the system has for such files (~/.config/stemsplit on Linux), or what the variable
STEMSPLIT_CONFIG names; if that is empty, no file is read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from stemsplit.errors import UsageError, reason

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_VARIABLE = "STEMSPLIT_CONFIG"


def config_path() -> Path | None:
    """Return where the file is, or would be; None if none is to be read."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None:
        return Path(named).expanduser() if named else None
    import platformdirs  # here: most runs that name a file need it not

    return Path(platformdirs.user_config_dir("stemsplit", appauthor=False), "config.toml")


def read_config(path: Path) -> dict[str, Any]:
    """Return what a file says; nothing if there is none, unless the variable names it.

    Raises: UsageError if it cannot be read.
    """
    try:
        said: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return said
    except FileNotFoundError as error:
        if os.environ.get(CONFIG_VARIABLE):
            raise UsageError(f"{path}, which {CONFIG_VARIABLE} names: no such file") from error
        return {}
    except OSError as error:
        raise UsageError(f"{path}: {reason(error)}; --no-config goes without it") from error
    except (ValueError, RecursionError) as error:  # of tomllib, or no text at all
        raise UsageError(f"{path} is no TOML: {error}; --no-config goes without it") from error
