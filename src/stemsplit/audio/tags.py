"""Tags such as title and artist, read from a song and written to its stems.

Here tags have the names of Vorbis comment fields, whatever the format of the file. Tags that describe the mixed
recording and not a stem (replay gain, fingerprints, recording ids, gapless sizes) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stemsplit.audio.info import Warn
from stemsplit.machine.bounded import bounded

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
MOST_TEXT = 1 << 20
"""Characters of tags that a stem gets."""
_ID3_LIMIT = 2**32 - 2**24  # WAV and AIFF can state sizes up to 4 GiB; this leaves room for the tag


@dataclass(frozen=True)
class Tags:
    """The tags of one file."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Vorbis comment names in lower case → values, in order."""

    def for_stem(self, stem: str, track: str) -> Tags:
        """Return the tags with "(stem)" after the title; `track` is the title if there is none.

        If there are no tags at all, none are made up.
        """
        if not self.fields:
            return self
        titles = self.fields.get("title", ()) or (track,)
        named = {"title": tuple(f"{title} ({stem})" for title in titles)}
        return Tags(MappingProxyType({**self.fields, **named}))


def read_tags(source: Path, warn: Warn | None = None) -> Tags:
    """Read the tags of a file. If they cannot be read, call `warn` and return no tags."""
    import mutagen

    try:
        with bounded(source) as opened:
            file = mutagen.File(opened)
            found = {} if file is None or not file.tags else dict(_fields(file.tags))
        kept = {name: values for name, values in found.items() if values and not name.startswith(_OF_THE_MIX)}
        if (characters := sum(len(text) for values in kept.values() for text in values)) > MOST_TEXT:
            raise ValueError(f"they have {characters} characters, more than {MOST_TEXT}")
    except Exception as error:  # damaged tags of any kind must not stop the separation
        if warn is not None:
            warn(f"{source.name}: its tags could not be read ({_reason(error)})")
        return Tags()
    return Tags(MappingProxyType(kept))


def write_tags(target: Path, tags: Tags, format: str, warn: Warn | None = None) -> None:
    """Write tags into a finished stem. Equal tags give equal bytes.

    If the file cannot hold them, as an RF64 cannot, or a tag cannot be expressed, `warn` is called.

    Args:
        target: the stem.
        tags: what to write.
        format: a key of `FORMATS`.
        warn: called with one sentence.

    Raises:
        OSError: the disk refuses.
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
        if isinstance(error.__context__, OSError):  # mutagen wraps errors of the disk in errors of its own
            raise error.__context__ from error
        if warn is not None:
            warn(f"tags could not be written ({_reason(error)})")


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
    """Return a value as text. Track and disc numbers are pairs (number, total), in which 0 means unknown."""
    return "/".join(str(part) for part in value if part) if isinstance(value, tuple) else str(value)


def _write_comments(target: Path, tags: Tags, format: str) -> None:
    from mutagen.flac import FLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis

    kinds: dict[str, Any] = {"flac": FLAC, "ogg": OggVorbis, "opus": OggOpus}  # Any: mutagen has no types
    file = kinds[format](target)
    for name, values in tags.fields.items():
        with suppress(ValueError):  # a name that Vorbis comments do not allow
            file[name] = list(values)
    file.save()


def _write_id3(target: Path, tags: Tags, format: str) -> None:
    from mutagen import id3
    from mutagen.aiff import AIFF
    from mutagen.mp3 import MP3
    from mutagen.wave import WAVE

    kinds: dict[str, Any] = {"mp3": MP3, "wav": WAVE, "aiff": AIFF}
    frames: Any = id3
    file = kinds[format](target)
    if file.tags is None:
        file.add_tags()
    for name, values in tags.fields.items():
        if name in _ID3:
            file.tags.add(getattr(frames, _ID3[name])(encoding=id3.Encoding.UTF8, text=list(values)))
        elif name in ("comment", "description"):
            file.tags.add(frames.COMM(encoding=id3.Encoding.UTF8, lang="XXX", desc="", text=list(values)))
        else:
            file.tags.add(frames.TXXX(encoding=id3.Encoding.UTF8, desc=name, text=list(values)))
    file.save()


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
