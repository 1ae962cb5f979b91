"""The styles of various songs: club music, hip-hop and bands with sounds of their own, beside those of `styles`."""

from __future__ import annotations

from songs.composition.styles import (
    ACOUSTIC_BASS,
    BRASS,
    CLEAN_GUITARS,
    DRIVEN_GUITARS,
    ELECTRIC_BASS,
    ELECTRIC_PIANOS,
    FUNK,
    JAZZ,
    LEADS,
    MALLETS,
    ORGANS,
    PADS,
    PIANOS,
    PIPES,
    PLUCKS,
    POP,
    REEDS,
    ROCK,
    SOLO_STRINGS,
    STRINGS,
    STYLES,
    SYNTH_BASS,
    Palette,
    Style,
)

_DARK: dict[str, tuple[str, ...]] = {
    "minor": (
        "0m 0m 0m 0m", "0m 0m 8M 8M", "0m 8M 0m 10M", "0m 3M 0m 1M", "0m 0m 5m 7m", "0m 8M 5m 7M", "0m 10M 8M 8M",
        "0m7 0m7 8M7 7m7", "0m 1M 0m 1M",
    ),
}  # fmt: skip
_DREAMY: dict[str, tuple[str, ...]] = {
    "major": ("0M7 9m7 2m7 79", "5M7 4m7 2m7 0M7", "2m7 79 0M7 9m7", "5M7 0M7 5M7 4m7"),
    "minor": ("0m7 5m7 8M7 7m7", "8M7 7m7 0m7 0m7", "0m7 3M7 8M7 10M", "5m7 107 3M7 8M7"),
}
_RISING = {"riser": 0.6, "sweep": 0.5, "impact": 0.5, "reverse": 0.3}
_SYNTHS = {
    "pad": ("supersaw", "pad", "strings machine", "glass"), "arp": ("pluck", "chip", "bell", "saw pluck"),
    "stab": ("supersaw", "organ", "stab", "pluck"), "comp": ("organ", "stab", "bell", "pluck"),
    "melody": ("lead", "supersaw", "talkbox", "chip", "bell"), "lead": ("lead", "talkbox", "supersaw", "chip"),
}  # fmt: skip

CLUB = (
    Style("house", (116, 130), ("minor", "major"), POP, ("dance",), 0.97,
          SYNTH_BASS + ELECTRIC_BASS, ("offbeat", "octaves", "eighths", "syncopated"), 0.8,
          (("stab", PIANOS + LEADS + ELECTRIC_PIANOS), ("pad", PADS + STRINGS), ("arp", LEADS + PLUCKS + MALLETS),
           ("melody", LEADS), ("comp", PIANOS + ORGANS)),
          palette=Palette("house", ("909", "808", "any"), ("EDM-HSE", "EDM-TR9"), 0.3,
                          ("saturated", "sub", "fm", "acid", "organ bass"), _SYNTHS, 0.6, _RISING)),
    Style("techno", (122, 145), ("minor",), _DARK, ("dance",), 1.0,
          SYNTH_BASS, ("rolling", "sixteenths", "offbeat", "eighths"), 0.95,
          (("stab", LEADS + PADS), ("arp", LEADS + PLUCKS), ("pad", PADS), ("riff", (38, 39, 81, 87)),
           ("melody", LEADS)),
          palette=Palette("techno", ("909", "909", "any"), ("EDM-TR9", "EDM-HSE"), 0.25,
                          ("acid", "sub", "saturated", "fm", "reese"), _SYNTHS, 0.6, _RISING | {"vinyl": 0.05})),
    Style("trap", (120, 160), ("minor",), _DARK, ("hiphop",), 1.0,
          SYNTH_BASS, ("kick", "drops", "sub", "roots"), 0.95,
          (("arp", MALLETS + PLUCKS + PIANOS), ("pad", PADS + STRINGS), ("melody", PIPES + MALLETS + LEADS),
           ("comp", PIANOS + ELECTRIC_PIANOS)),
          palette=Palette("trap", ("808", "808", "any"), ("HH-TRP", "EDM-TR8"), 0.25,
                          ("808", "808", "808", "sub"), _SYNTHS, 0.15, {"riser": 0.2, "impact": 0.2, "reverse": 0.3})),
    Style("drum and bass", (168, 178), ("minor", "major"), _DARK | {"major": POP["major"]}, ("funk", "hiphop"), 0.9,
          SYNTH_BASS, ("long", "roots", "drops", "sub", "syncopated"), 0.97,
          (("pad", PADS + STRINGS), ("arp", LEADS + PLUCKS), ("stab", PIANOS + LEADS), ("melody", LEADS + PIPES)),
          palette=Palette("dnb", ("909", "any"), ("amen", "breakbeat", "POP-ROK", "compus"), 0.4,
                          ("reese", "reese", "sub", "fm", "wobble"), _SYNTHS, 0.35, _RISING)),
    Style("dubstep", (138, 142), ("minor",), _DARK, ("hiphop",), 1.0,
          SYNTH_BASS, ("halves", "long", "drops", "roots"), 1.0,
          (("pad", PADS), ("stab", LEADS + BRASS), ("arp", LEADS + PLUCKS), ("melody", LEADS)),
          palette=Palette("dubstep", ("any", "909"), ("HH-TRP", "industrial"), 0.15,
                          ("wobble", "wobble", "wobble", "reese", "sub", "fm"), _SYNTHS, 0.4, _RISING)),
    Style("synthwave", (80, 118), ("minor", "major"), POP, ("dance", "rock"), 0.95,
          SYNTH_BASS, ("eighths", "octaves", "sixteenths"), 0.95,
          (("arp", LEADS + PADS), ("pad", PADS + STRINGS), ("melody", (*LEADS, 29, 65)), ("comp", (5, 62, 63)),
           ("power", DRIVEN_GUITARS)), 0.6,
          palette=Palette("synthwave", ("707", "808", "any"), ("EDM-TR8",), 0.1,
                          ("saturated", "fm", "sub", "reese"), _SYNTHS, 0.35, _RISING)),
    Style("lo-fi", (70, 92), ("major", "minor"), _DREAMY, ("hiphop", "soul"), 0.7,
          (*ACOUSTIC_BASS, 33, 35, 39), ("roots", "kick", "syncopated", "sub"), 0.35,
          (("comp", ELECTRIC_PIANOS + PIANOS), ("arp", CLEAN_GUITARS + ELECTRIC_PIANOS),
           ("melody", (26, 11, 65, 73, 4)), ("pad", STRINGS + PADS)), 0.0, 0.35,
          palette=Palette("boom bap", ("any", "808"), ("HH-LFBB", "WRLD-LP"), 0.5,
                          ("sub", "808", "saturated"), {"pad": ("pad", "strings machine"), "lead": ("lead", "talkbox")},
                          0.3, {"vinyl": 0.75, "reverse": 0.1})),
    Style("hip-hop", (80, 102), ("minor", "major"), _DARK | {"major": FUNK["major"]}, ("hiphop", "funk", "soul"), 0.6,
          (*SYNTH_BASS, *ACOUSTIC_BASS, 33, 35), ("sub", "kick", "roots", "syncopated"), 0.6,
          (("comp", ELECTRIC_PIANOS + PIANOS), ("arp", MALLETS + PLUCKS + PIPES), ("pad", STRINGS + PADS),
           ("melody", PIPES + SOLO_STRINGS + LEADS), ("stab", BRASS)), 0.05, 0.2,
          palette=Palette("boom bap", ("808", "any", "707"), ("HH-LFBB", "HH-TRP", "breakbeat", "amen"), 0.4,
                          ("808", "sub", "sub", "fm"), _SYNTHS, 0.1, {"vinyl": 0.35, "impact": 0.15})),
    Style("reggaeton", (86, 100), ("minor", "major"), POP, ("latin", "reggae"), 1.0,
          SYNTH_BASS, ("tresillo", "sub", "kick", "roots"), 0.9,
          (("stab", LEADS + PIANOS), ("arp", PLUCKS + MALLETS + (24,)), ("pad", PADS + STRINGS),
           ("melody", PIPES + LEADS + (24,))),
          palette=Palette("dembow", ("808", "909", "any"), ("EDM-TR8",), 0.1,
                          ("808", "sub", "saturated"), _SYNTHS, 0.3, _RISING)),
)  # fmt: skip
"""Styles that machines play."""

BANDS = (
    Style("metal", (100, 170), ("minor",), ROCK, ("rock", "punk"), 0.1,
          (34, 33), ("eighths", "gallop", "kick", "sixteenths"), 0.05,
          (("power", DRIVEN_GUITARS), ("riff", DRIVEN_GUITARS), ("melody", DRIVEN_GUITARS),
           ("pad", STRINGS)), 1.0,
          palette=Palette(loops=("POP-ROK",), looped=0.1, basses=("saturated", "reese"))),
    Style("funk", (92, 122), ("minor", "major"), FUNK, ("funk", "soul", "neworleans", "hiphop"), 0.05,
          (33, 36, 37, 34), ("syncopated", "kick", "octaves"), 0.12,
          (("stab", (*CLEAN_GUITARS, 7)), ("stab", BRASS), ("comp", ELECTRIC_PIANOS + ORGANS + (7,)),
           ("melody", REEDS + LEADS), ("offbeat", CLEAN_GUITARS)),
          palette=Palette(loops=("POP-ROK", "WRLD-LP"), looped=0.2, basses=("fm", "saturated", "acid"),
                          synths={"melody": ("lead", "talkbox"), "lead": ("talkbox", "lead")})),
    Style("jazz", (90, 190), ("major", "minor"), JAZZ, ("jazz",), 0.0,
          (*ACOUSTIC_BASS, *ACOUSTIC_BASS, 35), ("walking", "walking", "fifths"), 0.0,
          (("comp", (*PIANOS, 26, *ELECTRIC_PIANOS)), ("melody", REEDS + BRASS + (11,)), ("comp", (26, 16, 17)),
           ("melody", BRASS + REEDS), ("pad", STRINGS)), 0.0, 0.6,
          palette=Palette(loops=("JAZ-DRM",), looped=0.25)),
    Style("samba", (92, 118), ("major", "minor"), JAZZ, ("latin", "afrocuban"), 0.6,
          (*ACOUSTIC_BASS, 33, 35), ("surdo", "fifths", "syncopated"), 0.0,
          (("comp", (24, 25)), ("arp", (24, 105, 46)), ("melody", PIPES + REEDS + BRASS), ("stab", BRASS),
           ("comp", PIANOS)),
          palette=Palette("samba", (), ("WRLD-SMB",), 0.5)),
)  # fmt: skip
"""Styles that people play."""

_REPLACED = {style.name for style in (*CLUB, *BANDS)} | {"hiphop"}
VARIOUS_STYLES = (*(style for style in STYLES if style.name not in _REPLACED), *CLUB, *BANDS)
"""All styles of various songs, each once."""
