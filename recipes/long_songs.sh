#!/bin/sh
# What is rendered for the long run: long_run.py calls this again and again, from the run's folder, while there is room.
# SONGS is how many songs of a kind there are to be by now; what is there already is kept. ROUND is the number of the call.
# DATA is the folder with the sources that recipes/README.md names, PACKAGES that of unpacked packages, PYTHON the
# interpreter, RECIPES this folder.
set -eu
: "${SONGS:?}" "${DATA:?}" "${PYTHON:?}" "${RECIPES:?}"
# Debian: timgm6mb-soundfont, fluid-soundfont-gm, avldrums.lv2-soundfont, and for development musescore-general-soundfont.
FONTS=${FONTS:-/usr/share/sounds/sf2}
HELDOUT_FONT=${HELDOUT_FONT:-/usr/share/sounds/sf3/MuseScore_General_Full.sf3}

plain() {
    kind=$1
    shift
    "$PYTHON" "$RECIPES/render_songs.py" --voices "$DATA/voices" --drums "$DATA/drums" --groove "$DATA/groove" \
        --mir1k "$DATA/mir1k" --impulses "$DATA/impulses" --soundfont "$FONTS/TimGM6mb.sf2" \
        --analyses songs/analyses --flac --out "songs/$kind" "$@"
}

render() {
    plain "$@" --various --real "$DATA/real"
}

development() {
    render dev --split heldout --seed 8 --soundfont "$HELDOUT_FONT" \
        --kits "$FONTS/Black_Pearl_4_LV2.sf2" "$FONTS/Red_Zeppelin_4_LV2.sf2" "$@"
}

recorded() {
    "$PYTHON" "$RECIPES/real_songs.py" "$@" --flac
}

development --per-style 1
development --per-style 2 --speech "$DATA/speech"
recorded pairs --mir1k "$DATA/mir1k" --out songs/pairs --singers Kenshin annar bobon bug fdps geniusturtle jmzen khair titon
recorded demos --real "$DATA/real" --out songs/real/multitrack
recorded loose --real "$DATA/real" --stem bass other --out songs/real/loose  # drum loops are in songs, some held out
recorded loose --real "$DATA/real" --stem vocals --out songs/real/vocals
[ -z "${PACKAGES:-}" ] || recorded backing --packages "$PACKAGES" --heldout --out songs/real/dev ||
    echo "some tracks cannot be read: the others will do" >&2

render solo --split train --seed 4 --speech "$DATA/speech" --alone --songs "$SONGS"
render various --split train --seed 3 --speech "$DATA/speech" --more-soundfonts "$FONTS/FluidR3_GM.sf2" --songs "$SONGS"
# Without these, drums and bass of such songs get worse while all others improve.
plain plain --split train --seed 2 --soundfont "$FONTS/FluidR3_GM.sf2" --songs "$SONGS"

# Hours of music, which take long: not in the first round, for which the training waits.
[ -z "${PACKAGES:-}" ] || [ "${ROUND:-2}" -eq 1 ] || recorded backing --packages "$PACKAGES" --out songs/real/backing ||
    echo "some tracks cannot be read: the others will do" >&2
