"""Title, artist and the rest, from a song to its stems.

Between formats the names are Vorbis comment fields. What describes the mixed recording and not a stem (replay
gain, fingerprints, recording ids, gapless sizes) stays behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stemsplit.audio.info import Warn

_ID3 = {
    "title": "TIT2", "artist": "TPE1", "album": "TALB", "albumartist": "TPE2", "tracknumber": "TRCK",
    "discnumber": "TPOS", "date": "TDRC", "genre": "TCON", "composer": "TCOM", "lyricist": "TEXT",
    "conductor": "TPE3", "copyright": "TCOP", "organization": "TPUB", "isrc": "TSRC", "bpm": "TBPM",
    "initialkey": "TKEY", "language": "TLAN", "grouping": "TIT1", "subtitle": "TIT3",
}  # fmt: skip
_MP4 = {
    "\xa9nam": "title", "\xa9ART": "artist", "\xa9alb": "album", "aART": "albumartist", "trkn": "tracknumber",
    "disk": "discnumber", "\xa9day": "date", "\xa9gen": "genre", "\xa9wrt": "composer", "cprt": "copyright",
    "\xa9cmt": "comment", "\xa9grp": "grouping", "tmpo": "bpm",
}  # fmt: skip
_APE = {"track": "tracknumber", "year": "date", "disc": "discnumber", "album artist": "albumartist"}
_OF_THE_MIX = (
    "replaygain_", "r128_", "musicbrainz_", "acoustid", "mcn", "cuesheet", "encoder", "encoded", "itun",
    "length", "metadata_block_picture", "coverart", "wavexformatextensible_channel_mask", "md5", "rating",
    "fingerprint",
)  # fmt: skip
_ID3_LIMIT = 2**32 - 2**24  # sizes in WAV and AIFF end at 4 GiB; leaves room for the tag itself


@dataclass(frozen=True)
class Tags:
    """Lower-case Vorbis comment names → values, in order."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def for_stem(self, stem: str, track: str) -> Tags:
        """The same with "(stem)" after the title (``track`` where there is none); no tags stay no tags."""
        if not self.fields:
            return self
        titles = self.fields.get("title", ()) or (track,)
        named = {"title": tuple(f"{title} ({stem})" for title in titles)}
        return Tags(MappingProxyType({**self.fields, **named}))


def read_tags(source: Path, warn: Warn | None = None) -> Tags:
    """The tags of a file; none when it has none. One that cannot be read costs a sentence to ``warn``, no
    more."""
    import mutagen

    try:
        file = mutagen.File(source)
        found = {} if file is None or not file.tags else dict(_fields(file.tags))
    except Exception as error:  # whatever a parser meets in tags, they must not cost the separation
        if warn is not None:
            warn(f"{source.name}: its tags could not be read ({_reason(error)})")
        return Tags()
    kept = {name: values for name, values in found.items() if values and not name.startswith(_OF_THE_MIX)}
    return Tags(MappingProxyType(kept))


def write_tags(target: Path, tags: Tags, format: str, warn: Warn | None = None) -> None:
    """Put tags into a finished stem of a format of `FORMATS`. The bytes depend on the tags only.

    A container without a place for them (RF64) and a tag that cannot be said cost a sentence to ``warn``. Raises
    OSError when the disk refuses.
    """
    if not tags.fields:
        return
    try:
        if format in ("flac", "ogg", "opus"):
            _write_comments(target, tags, format)
        elif target.stat().st_size < _ID3_LIMIT:
            _write_id3(target, tags, format)
        else:
            raise ValueError("4 GiB files have no place for them")
    except OSError:
        raise
    except Exception as error:
        if isinstance(error.__context__, OSError):  # mutagen wraps the disk's own errors
            raise error.__context__ from error
        if warn is not None:
            warn(f"{target.name}: tags could not be written ({_reason(error)})")


def _fields(tags: Any) -> dict[str, tuple[str, ...]]:
    kind = type(tags).__name__
    if hasattr(tags, "getall"):
        return _from_id3(tags)
    if kind == "MP4Tags":
        return _from_mp4(tags)
    if kind == "APEv2":
        texts = {key.lower(): tuple(value) for key, value in tags.items() if value.kind == 0}
        return {_APE.get(key, key): values for key, values in texts.items()}
    if kind == "ASFTags":
        return {}
    return {key.lower(): tuple(tags[key]) for key in tags.keys()}  # noqa: SIM118  (Vorbis comments)


def _from_id3(tags: Any) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, frame in _ID3.items():
        entries = (getattr(entry, "genres", entry.text) for entry in tags.getall(frame))
        values = tuple(str(text) for texts in entries for text in texts)
        if values:
            found[name] = values
    comments = tuple(str(text) for entry in tags.getall("COMM") if not entry.desc for text in entry.text)
    if comments:
        found["comment"] = comments
    for entry in tags.getall("TXXX"):
        found.setdefault(entry.desc.lower(), tuple(str(text) for text in entry.text))
    return found


def _from_mp4(tags: Any) -> dict[str, tuple[str, ...]]:
    found = {}
    for key, name in _MP4.items():
        if key in tags:
            found[name] = tuple(_mp4_text(value) for value in tags[key])
    return found


def _mp4_text(value: Any) -> str:
    """Track and disc numbers are (number, of how many), 0 for unknown."""
    return "/".join(str(part) for part in value if part) if isinstance(value, tuple) else str(value)


def _write_comments(target: Path, tags: Tags, format: str) -> None:
    from mutagen.flac import FLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis

    file = {"flac": FLAC, "ogg": OggVorbis, "opus": OggOpus}[format](target)
    for name, values in tags.fields.items():
        with suppress(ValueError):  # a name that Vorbis comments do not allow
            file[name] = list(values)
    file.save()


def _write_id3(target: Path, tags: Tags, format: str) -> None:
    from mutagen import id3
    from mutagen.aiff import AIFF
    from mutagen.mp3 import MP3
    from mutagen.wave import WAVE

    file: Any = {"mp3": MP3, "wav": WAVE, "aiff": AIFF}[format](target)
    if file.tags is None:
        file.add_tags()
    for name, values in tags.fields.items():
        if name in _ID3:
            file.tags.add(getattr(id3, _ID3[name])(encoding=id3.Encoding.UTF8, text=list(values)))
        elif name in ("comment", "description"):
            file.tags.add(id3.COMM(encoding=id3.Encoding.UTF8, lang="XXX", desc="", text=list(values)))
        else:
            file.tags.add(id3.TXXX(encoding=id3.Encoding.UTF8, desc=name, text=list(values)))
    file.save()


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
