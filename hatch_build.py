"""The native kernels as a part of the package's build: compiled when a compiler is there, left out when not.

A wheel that holds them is for one platform (and any Python: they know nothing of it); without them it is for all.
STEMSPLIT_NATIVE=0 leaves them out on purpose.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

NATIVE = Path("src/stemsplit/networks/kernels/native")


class NativeKernels(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the library beside its sources; an editable installation finds it there."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before files are gathered. A failure is one line of warning, never a failed installation."""
        builder = _load(Path(self.root) / NATIVE / "build.py")
        builder.LIBRARY.unlink(missing_ok=True)  # what is there was made of other sources, perhaps
        if os.environ.get("STEMSPLIT_NATIVE") == "0":
            return
        try:
            library = builder.build()
        except (builder.BuildError, OSError) as error:
            self.app.display_warning(f"stemsplit without its native kernels: {error}")
            return
        build_data["artifacts"].append(f"/{NATIVE.as_posix()}/{library.name}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"


def _load(path: Path) -> ModuleType:
    """Load the builder by itself: importing the package would need its dependencies."""
    spec = importlib.util.spec_from_file_location("stemsplit_native_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _platform() -> str:
    """Return this platform's own tag; manylinux is for auditwheel to claim, which looks at what the library needs."""
    platform = next(
        tag.platform for tag in sys_tags() if "manylinux" not in tag.platform and "musllinux" not in tag.platform
    )
    oldest_macos = os.environ.get("MACOSX_DEPLOYMENT_TARGET", "").replace(".", "_")
    return re.sub(r"^macosx_\d+_\d+", f"macosx_{oldest_macos}", platform) if oldest_macos else platform
