"""The game music of Debian 12 that is trained on, and what of it is left out.

The licences are those that each package's copyright file gives for its music. Left out are packages whose terms forbid
something, or do not say which licence the music has: btanks-data (own terms for its sounds), davegnukem-data (its
music's licence is not stated), drascula-music (may not be sold), freedink-data (replacements of several origins),
freedroid-data and mazeofgalious-data (other games' tunes), krank (no word on its sounds), pink-pony-data. So
is marsshooter-data, in most of whose songs somebody sings. Modules for trackers (.xm, .it, .s3m, .mod) are not read.
"""

from __future__ import annotations

from recordings.music import Music

_KENTA_CHO = ("a7xpg-data", "gunroar-data", "mu-cade-data", "noiz2sa-data", "parsec47-data", "rrootage-data",
              "titanion-data", "torus-trooper-data", "tumiki-fighters-data")  # fmt: skip
GAME_MUSIC = (
    # heard by the first weights
    Music("wesnoth-1.16-music", "**/music/*.ogg", "GPL-2+", "the Battle for Wesnoth contributors",
          ("nunc_dimittis*", "main_menu*")),  # a choir; an excerpt of another track
    Music("hyperrogue-music", "**/music/hr3-*.ogg", "CC BY-SA 3.0", "Shawn Parrotte"),
    Music("hyperrogue-music", "**/music/hr-domina-*.ogg", "CC BY-SA 3.0", "Lincoln Domina"),
    Music("hyperrogue-music", "**/music/hr-savino-*.ogg", "CC BY-SA 3.0", "Will Savino"),
    Music("nexuiz-music", "**/cdtracks/*.ogg", "GPL-2+", "Nexuiz: Alientrap, Lee Vermeulen", ("thunder*",)),
    Music("singularity-music", "**/music/**/*.ogg", "CC BY-SA 3.0", "Max McCracken"),
    Music("asc-music", "**/music/*.mp3", "GPL-2+", "Michael Kievernagel"),
    Music("amoebax-data", "**/music/*.ogg", "Free Art License 1.2", "Àlex Almarza", ("Congratulations*",)),
    Music("zaz-data", "**/mus?.ogg", "CC BY-SA 3.0", "Leonard Ritter"),
    Music("frozen-bubble-data", "**/*zik*.ogg", "GPL-2", "the Frozen-Bubble Team"),
    Music("fretsonfire-songs-sectoid", "**/song.ogg", "MIT", "Carlos Viola Iborra"),
    *(Music(name, "**/sounds/**/*.ogg", "BSD-2-Clause", "Kenta Cho") for name in _KENTA_CHO),
    # orchestras and bands
    Music("0ad-data", "**/audio/music/*.ogg", "CC BY-SA 3.0", "Wildfire Games"),
    Music("flare-game", "**/fantasycore/music/*.ogg", "CC BY-SA 3.0", "Clint Bellanger and the Flare contributors"),
    Music("freecol", "**/music/default/*.ogg", "CC BY 4.0", "Alexander Zhelanov and Stian Grenborgen"),
    Music("lordsawar-data", "**/music/*.ogg", "GPL-3+", "the LordsAWar! contributors"),
    Music("unknown-horizons", "**/audio/music/**/*.ogg", "CC BY-SA 3.0", "the Unknown Horizons Team"),
    Music("widelands-data", "**/data/music/ingame_2[456].ogg", "CC BY-SA 3.0", "Stuart Marshall"),
    Music("widelands-data", "**/data/music/*.ogg", "GPL-2+", "the Widelands Development Team",
          ("ingame_2[456].ogg",)),
    Music("megaglest-data", "**/music/*.ogg", "CC BY-SA 3.0", "the Glest and MegaGlest Teams"),
    Music("freeciv-data", "**/stdmusic/*.ogg", "GPL-2+", "the Freeciv project"),
    Music("gamine-data", "**/BachJS*.ogg", "public domain", "J. S. Bach, played by T. Willhoite"),
    Music("renpy-demo", "**/game/*.ogg", "MIT", "Tom Rothamel"),
    Music("lincity-ng-data", "**/music/**/*.ogg", "GPL-2+", "pronobozo and Robert van Herk, LinCity-NG"),
    Music("ardentryst", "**/Music/*.ogg", "CC BY-SA 3.0", "Jordan Trudgett"),
    Music("adonthell-data", "**/audio/at-demo*.ogg", "GPL-2+", "the Adonthell project"),
    Music("supertux-data", "**/music/**/*.ogg", "GPL-2+", "Marek Moeckel and the SuperTux Team"),
    Music("plee-the-bear-data", "**/plee-the-bear/music/*.ogg", "CC BY-SA 3.0", "the Plee the Bear Team"),
    Music("raincat-data", "**/music/*.ogg", "CC BY-SA 3.0", "Garrick Chin and the Raincat Team"),
    Music("extremetuxracer-data", "**/etr/music/*.ogg", "GPL-2+", "the Extreme Tux Racer Team"),
    Music("trackballs-data", "**/music/*.ogg", "GPL-2+", "Mathias Broxvall and the Trackballs contributors"),
    Music("torcs-data", "**/music/*.ogg", "GPL-2+", "the TORCS contributors"),
    Music("warmux-data", "**/music/**/*.ogg", "GPL-2+", "Mike Errecart, Olivier Militon and the WarMUX contributors"),
    Music("hedgewars-data", "**/Data/Music/*.ogg", "GPL-2",
          "HSR, Jonatan Nilsson, Valentin Kraevskiy, John Dum, yd, Kevin MacLeod; the Hedgewars Project"),
    Music("pushover-data", "**/themes/*.ogg", "GPL-3+", "Roberto Lorenz"),
    Music("fillets-ng-data", "**/music/*.ogg", "GPL-2", "the Fish Fillets NG contributors"),
    Music("enigma-data", "**/music/**/*.ogg", "GPL-2", "the Enigma contributors"),
    Music("funnyboat", "**/JDruid*.ogg", "MIT", "JDruid"),
    Music("blockout2", "**/music.ogg", "GPL-2+", "Jean-Luc Pons"),
    Music("hannah-data", "**/bgm*.ogg", "GPL-2", "Stephen Branley"),
    # electronic music
    Music("warzone2100-music", "**/*.opus", "GPL-2+", "the Warzone 2100 Project; Eidos Interactive"),
    Music("planetblupi-music-ogg", "**/music/*.ogg", "GPL-3+", "Daniel Roux, EPSITEC SA; Denis Dumoulin"),
    Music("colobot-common-sounds", "**/colobot/music/*.ogg", "GPL-3+", "EPSITEC SA and the TerranovaTeam"),
    Music("ufoai-music", "**/music/*.ogg", "GPL-2, CC BY 3.0, CC BY-SA 3.0, public domain, by track",
          "Marine Baklund, Gren, Christian Hoffmann, Slippycurb, Manuel Marino, David Reeves, azrael1322, "
          "Karl Macklin, Simon Green (Psymong), Alex Parker, Paul Bee, Karen Rei Pease, Draikon, "
          "Independent.nu, Golgotha"),
    Music("naev-data", "**/snd/music/*.ogg", "GPL-2+, GPL-3, CC BY 3.0, CC BY-SA 3.0, by track",
          "Nikola Whallon, Askyel, Zeropage, Vega Strike, the Naev contributors"),
    Music("supertuxkart-data", "**/data/music/*.ogg", "CC BY-SA 3.0, CC BY-SA 4.0, GPL-3+, by track",
          "0zone0ne, Krobonil, DJHelium, Claude Werner, Weirwood, Kalsan, Dundersylt, Speedsound, Keith Baylis "
          "and others of the SuperTuxKart Team"),
    Music("starfighter-data", "**/music/*.ogg", "GPL-2+",
          "Zander Noriega, maxstack, Deceased Superior Technician, Matthew Pablo, tgfcoder, JunglistMilitia, neocrey, "
          "WeskerHunter, Jan125, Alexandr Zhelanov"),
    Music("redeclipse-data", "**/sounds/music/track_*.ogg", "CC BY-SA 3.0", "Derek Stegall"),
    Music("redeclipse-data", "**/maps/tonatiuh.ogg", "CC0", "yd"),
    Music("redeclipse-data", "**/sounds/theme*.ogg", "CC BY-SA 3.0", "the Red Eclipse Team"),
    Music("freedroidrpg-data", "**/sound/music/*.ogg", "GPL-2+", "the freedroidRPG Team"),
    Music("freeorion-data", "**/sound/*.ogg", "CC BY-SA 3.0", "the FreeOrion project"),
    Music("openclonk-data", "**/Music.ocg/*.ogg", "CC BY 3.0 or CC0", "the OpenClonk Team"),
    Music("openarena-088-data", "**/music/*.ogg", "GPL-2+", "the OpenArena Team"),
    Music("berusky2-data", "**/berusky2/music/*.ogg", "GPL-2+", "AnakreoN"),
    Music("miceamaze", "**/music/*.ogg", "CC BY 3.0", "Deceased Superior Technician, George Ellinas"),
    Music("hex-a-hop-data", "**/music-*.ogg", "CC BY-SA 3.0", "remaxim"),
    Music("cube2-data", "**/music/stone_fortress.ogg", "CC BY-SA 3.0", "remaxim"),
    Music("gigalomania-data", "**/music/*.ogg", "CC BY 3.0", "Sindre Froyn, _ghost"),
    Music("bumprace-data", "**/Flying*.ogg", "CC BY 3.0", "Alexandr Zhelanov"),
    Music("brainparty-data", "**/electricity.ogg", "CC BY-SA 3.0", "Alexander Blu"),
    Music("pathological", "**/music/*.ogg", "GPL-2+", "John-Paul Gignac"),
    Music("powermanga-data", "**/music_*.ogg", "GPL-3+", "TLK Games"),
    Music("neverball-common", "**/bgm/*.ogg", "GPL-2+", "the Neverball contributors"),
    Music("pinball-data", "**/pinball/**/*.ogg", "GPL-2", "Henrik Enqvist"),
    Music("lugaru-data", "**/Music*.ogg", "GPL-2+", "Wolfire Games"),
    Music("angrydd", "**/music/*.ogg", "GPL-2", "Brendan Becker"),
    Music("holotz-castle-data", "**/sound/HC*.wav", "GPL-2+", "Juan Carlos Seijo Pérez", ("*Slow*",)),
    Music("pax-britannica-data", "**/music.ogg", "MIT", "Ben Abraham and others, Pax Britannica"),
    Music("orbital-eunuchs-sniper-data", "**/oes.ogg", "zlib", "Zachary J. Slater, Jari Komppa"),
    Music("scorched3d-data", "**/data/music/*.ogg", "GPL-2+", "Gavin Camp"),
    Music("caveexpress-data", "**/music-*.ogg", "CC BY-SA 4.0", "Martin Gerhardy"),
    Music("tuxmath-data", "**/sounds/0*.ogg", "GPL-3+", "Tux4Kids"),
    Music("glob2-data", "**/zik/a?.ogg", "GPL-3+", "the Globulation 2 contributors"),
    Music("abe-data", "**/sounds/*.ogg", "GPL-2+", "Gabor Torok"),
    Music("phlipple-data", "**/theme.ogg", "GPL-3+", "Remigiusz Dybka"),
    Music("solarwolf", "**/music/*.ogg", "LGPL-2.1", "Pete Shinners"),
    Music("tuxfootball", "**/titlemusic.ogg", "GPL-2+", "Jason Wood and Christoph Brill"),
)  # fmt: skip
GUITARS = (Music("fretsonfire-songs-sectoid", "**/guitar.ogg", "MIT", "Carlos Viola Iborra"),)
_SPEECH_IN_VOCALS = (
    "0ad-data/Eastern_Dreams", "0ad-data/Land_between_the_two_Seas", "0ad-data/Red_Dawn", "berusky2-data/Relax6",
    "berusky2-data/comix1", "colobot-common-sounds/Infinite", "colobot-common-sounds/Prototype",
    "colobot-common-sounds/music002", "colobot-common-sounds/music013", "extremetuxracer-data/start1-jt",
    "fillets-ng-data/rybky03", "hedgewars-data/Brick", "hedgewars-data/Freeway", "hedgewars-data/bath",
    "naev-data/battlesomething2", "openarena-088-data/OA06", "powermanga-data/music_game", "pushover-data/aztec",
    "redeclipse-data/track_02", "redeclipse-data/track_04", "redeclipse-data/track_05", "redeclipse-data/track_07",
    "redeclipse-data/track_09", "renpy-demo/sunflower-slow-drag", "scorched3d-data/mix3_loop3",
    "starfighter-data/sound_and_silence", "supertux-data/forest_theme", "supertuxkart-data/Penguin_Party",
    "supertuxkart-data/SkyVibe-HighFrequency", "supertuxkart-data/klabauter_dance", "trackballs-data/crazy",
    "tuxmath-data/01_rush", "ufoai-music/Crystan-Battlescape01", "ufoai-music/Crystan-Battlescape03",
    "ufoai-music/Crystan-Battlescape04", "ufoai-music/Crystan-Geosphere02", "ufoai-music/PsymongN2",
    "warmux-data/Olivier_Militon.-.Etrange_epouvantable", "warzone2100-music/track10", "warzone2100-music/track12",
    "warzone2100-music/track4",
)  # fmt: skip
"""A detector of speech hears it in a tenth of what ts-bsmamba2-mini takes for vocals, or a spectrogram shows it."""
_SPEECH = (
    "0ad-data/Calm_Before_the_Storm", "adonthell-data/at-demo-5", "hedgewars-data/Halloween", "naev-data/collective1",
    "ufoai-music/PsymongR4", "warzone2100-music/track2",
)  # fmt: skip
"""The detector hears speech in 2.5 % or more of the music itself."""
_MOSTLY_VOCALS = (
    "0ad-data/Sands_of_Time", "ardentryst/World_Map2", "colobot-common-sounds/music009",
    "warmux-data/Olivier_Militon.-.Like_a_rock", "warmux-data/Olivier_Militon.-.Vers_solitaire", "warmux-data/circux",
)  # fmt: skip
"""What that network takes for vocals is loud for half of the time (-8 dB): a voice, or a lead like one."""
_UNCHECKED = (
    "colobot-common-sounds/Intro1", "extremetuxracer-data/options1-jt", "gigalomania-data/victory",
    "naev-data/landing_sinister", "naev-data/liftoff", "plee-the-bear-data/game-over",
    "plee-the-bear-data/invincibility",
)  # fmt: skip
"""Short pieces, not looked at."""
VOICED = (*_SPEECH_IN_VOCALS, *_SPEECH, *_MOSTLY_VOCALS, *_UNCHECKED)
"""PACKAGE/NAME of tracks that have voices, or may have: in doubt they are left out.

Six to ten times 3 s of each new track were checked, so a short voice elsewhere may remain. Nobody listened.
"""
HELD_OUT = (
    "0ad-data/Cradle_of_Civilization", "0ad-data/Northern_Frontier", "abe-data/intro", "ardentryst/theme1_raw",
    "berusky2-data/Cool12", "blockout2/music", "colobot-common-sounds/music003", "flare-game/battle_theme",
    "freedroidrpg-data/TheBeginning", "hedgewars-data/EarthRise", "lordsawar-data/victory",
    "miceamaze/Dj_Rkod_Pulse_(George_Ellinas_Remix)", "naev-data/ambient2", "naev-data/imminent_threat",
    "naev-data/void_sensor", "pinball-data/professor", "pushover-data/option", "starfighter-data/through_space",
    "supertux-data/beneath_the_rabbit_hole", "supertux-data/theme", "supertuxkart-data/landing_in_gran_paradiso",
    "trackballs-data/tb_design", "ufoai-music/David05", "ufoai-music/PsymongR5", "warzone2100-music/track7",
    "widelands-data/ingame_03", "widelands-data/ingame_28",
)  # fmt: skip
"""PACKAGE/NAME of tracks that are kept for development."""
