"""The game music of Debian 12 that is trained on, and what of it is left out.

The licences are those that each package's copyright file gives for its music. Left out are packages whose terms forbid
something, or do not say which licence the music has: btanks-data (own terms for its sounds), davegnukem-data (its
music's licence is not stated), drascula-music (may not be sold), freedink-data (replacements of several origins),
freedroid-data and mazeofgalious-data (other games' tunes), krank (no word on its sounds), pink-pony-data. Modules for
trackers (.xm, .it, .s3m, .mod) are not read.
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
    Music("marsshooter-data", "**/audio/**/*.ogg", "CC BY-SA 3.0", "Obsidian Shell", ("toon*",)),
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
          "Karl Macklin, Simon Green (Psymong), Alex Parker, Paul Bee, Karen Rei Pease, Draikon, Independent.nu, Golgotha"),
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
    Music("epiphany-data", "**/sfx/epiphany_*.ogg", "GPL-2", "Giuseppe D'Aqui'"),
    Music("phlipple-data", "**/theme.ogg", "GPL-3+", "Remigiusz Dybka"),
    Music("solarwolf", "**/music/*.ogg", "LGPL-2.1", "Pete Shinners"),
    Music("tuxfootball", "**/titlemusic.ogg", "GPL-2+", "Jason Wood and Christoph Brill"),
)  # fmt: skip
GUITARS = (Music("fretsonfire-songs-sectoid", "**/guitar.ogg", "MIT", "Carlos Viola Iborra"),)
VOICED: tuple[str, ...] = ()
HELD_OUT: tuple[str, ...] = ()
