"""The tags of each kind of file, as mutagen or FFmpeg gives them → lower-case names of Vorbis comments, and texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = dict[str, tuple[str, ...]]

ID3 = {
    "title": "TIT2", "artist": "TPE1", "album": "TALB", "albumartist": "TPE2", "tracknumber": "TRCK",
    "discnumber": "TPOS", "date": "TDRC", "genre": "TCON", "composer": "TCOM", "lyricist": "TEXT",
    "conductor": "TPE3", "remixer": "TPE4", "copyright": "TCOP", "organization": "TPUB", "isrc": "TSRC",
    "bpm": "TBPM", "initialkey": "TKEY", "language": "TLAN", "grouping": "TIT1", "subtitle": "TIT3",
    "mood": "TMOO", "titlesort": "TSOT", "artistsort": "TSOP", "albumsort": "TSOA", "originaldate": "TDOR",
}  # fmt: skip
"""Name → the frame of ID3."""
MP4 = {
    "\xa9nam": "title", "\xa9ART": "artist", "\xa9alb": "album", "aART": "albumartist", "trkn": "tracknumber",
    "disk": "discnumber", "\xa9day": "date", "\xa9gen": "genre", "\xa9wrt": "composer", "cprt": "copyright",
    "\xa9cmt": "comment", "\xa9grp": "grouping", "tmpo": "bpm", "\xa9lyr": "lyrics", "desc": "description",
    "sonm": "titlesort", "soar": "artistsort", "soal": "albumsort",
}  # fmt: skip
"""The atom of an MP4 → name."""
MP4_FREE = "----:com.apple.iTunes:"
"""How the atoms of all other names begin."""
_APE = {"track": "tracknumber", "year": "date", "disc": "discnumber", "album artist": "albumartist"}
_ASF = {
    "Title": "title", "Author": "artist", "WM/AlbumTitle": "album", "WM/AlbumArtist": "albumartist",
    "WM/TrackNumber": "tracknumber", "WM/PartOfSet": "discnumber", "WM/Year": "date", "WM/Genre": "genre",
    "WM/Composer": "composer", "WM/Writer": "lyricist", "WM/Conductor": "conductor", "WM/ModifiedBy": "remixer",
    "Copyright": "copyright", "WM/Publisher": "organization", "WM/ISRC": "isrc", "WM/BeatsPerMinute": "bpm",
    "WM/InitialKey": "initialkey", "WM/Language": "language", "WM/ContentGroupDescription": "grouping",
    "WM/SubTitle": "subtitle", "WM/Mood": "mood", "WM/Lyrics": "lyrics", "Description": "comment",
    "WM/TitleSortOrder": "titlesort", "WM/ArtistSortOrder": "artistsort", "WM/AlbumSortOrder": "albumsort",
    "WM/OriginalReleaseYear": "originaldate",
}  # fmt: skip
STANDARD = frozenset({*ID3, "comment", "description", "lyrics"})
"""The names that every kind of file has a place for."""
_FFMPEG = {
    "track": "tracknumber", "part_number": "tracknumber", "disc": "discnumber", "album_artist": "albumartist",
    "publisher": "organization", "label": "organization", "tsrc": "isrc", "tbpm": "bpm", "tmpo": "bpm",
    "tempo": "bpm", "tkey": "initialkey", "year": "date", "date_released": "date", "date_recorded": "date",
    "author": "artist", "performer": "artist", "imus": "composer", "iwri": "lyricist", "ikey": "initialkey",
}  # fmt: skip
"""What FFmpeg calls a tag → its name with us, where they differ. A name of its own comes before these."""
_ANY_NAME = ("matroska", "ogg", "caf", "au")
"""Containers in which a tag may have any name. Elsewhere other names than the standard ones are technical."""
_TECHNICAL = (
    "creation_time", "duration", "_statistics", "bps", "number_of_", "handler_name", "vendor_id", "source_id",
    "major_brand", "minor_version", "compatible_brands", "approximate", "total_parts", "channel", "sample rate",
)  # fmt: skip

_OF_THE_MIX = (
    "replaygain_", "r128_", "musicbrainz_", "acoustid", "mcn", "cuesheet", "encoder", "encoded", "encoding", "itun",
    "length", "metadata_block_picture", "coverart", "wavexformatextensible_channel_mask", "md5", "rating",
    "fingerprint",
)  # fmt: skip


def of_a_stem(fields: Mapping[str, tuple[str, ...]]) -> Fields:
    """Return the fields that hold for a stem as well, without those that describe the mixed recording."""
    return {name: values for name, values in fields.items() if values and not name.startswith(_OF_THE_MIX)}


def fields_of(tags: Any) -> Fields:
    """Return the texts of a file's tags, an object of mutagen."""
    if hasattr(tags, "getall"):
        return _from_id3(tags)
    kind = type(tags).__name__
    if kind == "MP4Tags":
        return _from_mp4(tags)
    if kind == "APEv2":
        texts = {key.lower(): tuple(value) for key, value in tags.items() if value.kind == 0}
        return {_APE.get(key, key): values for key, values in texts.items()}
    if kind == "ASFTags":
        return _from_asf(tags)
    return {key.lower(): tuple(tags[key]) for key in tags.keys()}  # noqa: SIM118  (Vorbis comments)


def fields_of_container(format: str, of_file: Mapping[str, str], of_track: Mapping[str, str]) -> Fields:
    """Return the texts that FFmpeg finds in a file and in its sound track, the former first."""
    free = format.startswith(_ANY_NAME)
    found = _named(of_track, format == "ogg")
    if format != "ogg":  # these are of the sound track, as "Stereo" is
        found.pop("title", None)
        found.pop("language", None)
    return found | _named(of_file, free)


def _named(metadata: Mapping[str, str], free: bool) -> Fields:
    found: Fields = {}
    for key, text in metadata.items():
        name = key.lower()
        if name in _FFMPEG:
            found.setdefault(_FFMPEG[name], (_text(text),))
        elif name in STANDARD or (free and name.isprintable() and not name.startswith(_TECHNICAL)):
            found[name] = (_text(text),)
    return {name: values for name, values in found.items() if values[0]}


def _text(text: str) -> str:
    """Return a text; what was no UTF-8 is read as the letters of Windows in Western Europe."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return text.strip(" \0")


def _from_id3(tags: Any) -> Fields:
    found = {}
    for name, frame in ID3.items():
        entries = (getattr(entry, "genres", entry.text) for entry in tags.getall(frame))
        values = tuple(str(text) for texts in entries for text in texts)
        if values:
            found[name] = values
    comments = tuple(str(text) for entry in tags.getall("COMM") if not entry.desc for text in entry.text)
    if comments:
        found["comment"] = comments
    if lyrics := tuple(str(entry.text) for entry in tags.getall("USLT")):
        found["lyrics"] = lyrics
    for entry in tags.getall("TXXX"):
        found.setdefault(entry.desc.lower(), tuple(str(text) for text in entry.text))
    return found


def _from_mp4(tags: Any) -> Fields:
    found = {}
    for key, values in tags.items():
        if key in MP4:
            found[MP4[key]] = tuple(_mp4_text(value) for value in values)
        elif key.startswith(MP4_FREE):
            texts = (bytes(value).decode("utf-8", "replace") for value in values if value.dataformat == 1)
            found.setdefault(key.removeprefix(MP4_FREE).lower(), tuple(texts))
    return found


def _mp4_text(value: Any) -> str:
    """Return a value as text. Track and disc numbers are pairs (number, total), in which 0 means unknown."""
    return "/".join(str(part) for part in value if part) if isinstance(value, tuple) else str(value)


def _from_asf(tags: Any) -> Fields:
    found: Fields = {}
    for key, value in tags:
        name, text = _ASF.get(key, key.lower()), str(value)
        if name in STANDARD and text and text not in found.get(name, ()):
            found[name] = (*found.get(name, ()), text)
    return found
