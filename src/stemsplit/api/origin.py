"""What a separation was made of, and how."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stemsplit.audio import Tags, probe, read_tags
from stemsplit.audio.info import Warn
from stemsplit.files.manifest import input_record
from stemsplit.options import SeparateOptions
from stemsplit.runs.separate import track_settings
from stemsplit.separation.ensemble import AnySeparator


@dataclass(frozen=True)
class Origin:
    """Where stems come from. Of an array, there is no `input`."""

    input: Mapping[str, Any] | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    precision: str = ""
    tags: Tags = field(default_factory=Tags)
    track: str = ""

    @classmethod
    def of(
        cls, source: str | Path | NDArray[Any], separator: AnySeparator, options: SeparateOptions, warn: Warn
    ) -> Origin:
        """Note what a separation is made of, before it begins."""
        made = {
            "model": separator.about_model(),
            "settings": track_settings(separator, options),
            "device": str(separator.device),
            "precision": separator.precision_name,
        }
        if not isinstance(source, (str, Path)):
            return cls(None, **made)  # type: ignore[arg-type]
        path = Path(source)
        info = probe(path, track=options.audio_track, salvage=options.salvage)
        about = input_record(path, str(path), os.path.realpath(path), info)
        return cls(about, **made, tags=read_tags(path, warn), track=path.stem)  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Any]:
        """Return the part of a manifest that is known before anything is written."""
        return {
            "input": self.input, "model": self.model, "settings": self.settings, "device": self.device,
            "precision": self.precision,
        }  # fmt: skip
