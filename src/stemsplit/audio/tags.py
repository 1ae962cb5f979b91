"""Tags such as title and artist, and cover art, read from a song and written to its stems.

Here tags have the names of Vorbis comment fields, whatever the format of the file. Tags that describe the mixed
recording and not a stem (replay gain, fingerprints, recording ids, gapless sizes) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stemsplit.audio import ffmpeg
from stemsplit.audio.containers.tags import may_hold_texts
from stemsplit.audio.info import Warn
from stemsplit.audio.tagging.covers import FRONT, LARGEST_BYTES, Cover, as_comment, as_flac_picture, cover_of
from stemsplit.audio.tagging.mp4 import write_mp4
from stemsplit.audio.tagging.names import ID3, Fields, fields_of, of_a_stem
from stemsplit.errors import DecodeError
from stemsplit.machine.bounded import BeyondBoundsError, bounded
from stemsplit.options import PACKS, PICTURED

MOST_TEXT = 1 << 20
"""Characters of tags that a stem gets."""
_ID3_LIMIT = 2**32 - 2**24  # WAV and AIFF can state sizes up to 4 GiB; this leaves room for the tag


@dataclass(frozen=True)
class Tags:
    """The tags of one file."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Vorbis comment names in lower case → values, in order."""

    cover: Cover | None = None

    def for_stem(self, stem: str, track: str) -> Tags:
        """Return the tags with "(stem)" after the title; `track` is the title if there is none.

        If there are no tags at all, none are made up.
        """
        if not self.fields:
            return self
        titles = self.fields.get("title", ()) or (track,)
        named = {"title": tuple(f"{title} ({stem})" for title in titles)}
        return replace(self, fields=MappingProxyType({**self.fields, **named}))


def read_tags(source: Path, warn: Warn | None = None, *, cover: bool = True) -> Tags:
    """Read the tags of a file. If they cannot be read, call `warn` and return no tags.

    Args:
        source: the file.
        warn: called with one sentence.
        cover: whether to read its cover art as well.
    """
    say = warn or (lambda text: None)
    found = _from_mutagen(source)
    if not found.whole and not isinstance(found.fault, BeyondBoundsError):  # FFmpeg would read the same bomb
        with suppress(DecodeError, OSError):
            if may_hold_texts(source):
                fields, picture = ffmpeg.read_tags(source)
                found.fields, found.cover = {**fields, **found.fields}, found.cover or picture
                found.fault = None if fields else found.fault
    if found.fault is not None:  # damaged tags of any kind must not stop the separation
        what = "cover art" if found.fields else "tags"
        say(f"{source.name}: its {what} could not be read ({_reason(found.fault)})")
    if found.cover is not None and cover and len(found.cover.data) > LARGEST_BYTES:
        say(f"{source.name}: its cover art is left out, since it has more than {LARGEST_BYTES >> 20} MiB")
        found.cover = None
    kept = of_a_stem(found.fields)
    if (characters := sum(len(text) for values in kept.values() for text in values)) > MOST_TEXT:
        say(f"{source.name}: its tags are left out: they have {characters} characters, more than {MOST_TEXT}")
        kept = {}
    return Tags(MappingProxyType(kept), found.cover if cover else None)


@dataclass
class _Found:
    """What was found in a file so far; `whole` if there can be nothing else."""

    fields: Fields = field(default_factory=dict)
    cover: Cover | None = None
    whole: bool = False
    fault: Exception | None = None


def _from_mutagen(source: Path) -> _Found:
    found = _Found()
    try:
        with bounded(source) as opened:
            file = _known(opened)
            if file is not None and file.tags:
                found.fields = fields_of(file.tags)
            # Beside the ID3 tag of a WAV or AIFF may stand texts of their own.
            found.whole = bool(found.fields) and type(file).__name__ not in ("WAVE", "AIFF", "ID3FileType")
            found.cover = None if file is None else cover_of(file)
    except Exception as error:
        found.fault = error
    return found


def _known(opened: Any) -> Any:
    """Return an open file as mutagen sees it; None if mutagen does not know it."""
    import mutagen
    from mutagen.apev2 import APEv2File
    from mutagen.id3 import ID3FileType

    of_ape: Any = APEv2File  # Any: mutagen has no types
    of_id3: Any = ID3FileType
    head = opened.read(3)
    opened.seek(0)
    try:
        known = mutagen.File(opened)
    except mutagen.MutagenError:
        if head != b"ID3":
            raise
        opened.seek(0)
        known = of_id3(opened)  # in front of a file that should have none, as a WAV
    if known is None or not (known.tags or getattr(known, "pictures", None)):
        opened.seek(0)
        behind = of_ape(opened)  # behind an MP3
        known = behind if behind.tags else known
    return known


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
    if not tags.fields and tags.cover is None:
        return
    try:
        if format in ("flac", "ogg", "opus"):
            _write_comments(target, tags, format)
        elif format in ("m4a", "alac", *PACKS, *PICTURED):
            write_mp4(target, tags.fields, tags.cover)
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


def _write_comments(target: Path, tags: Tags, format: str) -> None:
    from mutagen.flac import FLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis

    kinds: dict[str, Any] = {"flac": FLAC, "ogg": OggVorbis, "opus": OggOpus}  # Any: mutagen has no types
    file = kinds[format](target)
    for name, values in tags.fields.items():
        with suppress(ValueError):  # a name that Vorbis comments do not allow
            file[name] = list(values)
    if tags.cover is not None and format == "flac":
        file.add_picture(as_flac_picture(tags.cover))
    elif tags.cover is not None:
        file["metadata_block_picture"] = [as_comment(tags.cover)]
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
        if name in ID3:
            file.tags.add(getattr(frames, ID3[name])(encoding=id3.Encoding.UTF8, text=list(values)))
        elif name in ("comment", "description"):
            file.tags.add(frames.COMM(encoding=id3.Encoding.UTF8, lang="XXX", desc="", text=list(values)))
        elif name == "lyrics":
            file.tags.add(frames.USLT(encoding=id3.Encoding.UTF8, lang="XXX", desc="", text="\n".join(values)))
        else:
            file.tags.add(frames.TXXX(encoding=id3.Encoding.UTF8, desc=name, text=list(values)))
    if (cover := tags.cover) is not None:
        file.tags.add(frames.APIC(encoding=id3.Encoding.LATIN1, mime=cover.mime, type=FRONT, desc="", data=cover.data))
    file.save()


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
