#!/bin/sh
# What is made for the long run: long_run.py calls this again and again, from the run's folder, while there is room.
# SONGS is how many songs of a kind there are to be by now; what is there already is kept. DATA is the folder with the
# sources that recipes/README.md names, PACKAGES that of unpacked packages, PYTHON the interpreter, RECIPES this folder.
set -eu
: "${SONGS:?}" "${DATA:?}" "${PYTHON:?}" "${RECIPES:?}"
SOUNDFONT=${SOUNDFONT:-/usr/share/sounds/sf2/TimGM6mb.sf2}

render() {
    kind=$1
    shift
    "$PYTHON" "$RECIPES/render_songs.py" --voices "$DATA/voices" --drums "$DATA/drums" --groove "$DATA/groove" \
        --mir1k "$DATA/mir1k" --impulses "$DATA/impulses" --soundfont "$SOUNDFONT" --analyses songs/analyses \
        --flac --out "songs/$kind" "$@"
}

real() {
    kind=$1
    shift
    "$PYTHON" "$RECIPES/real_songs.py" "$kind" --flac --out "songs/$kind" "$@"
}

# First what does not grow, then one more round of songs. Development songs are there before training begins.
render dev --split heldout --seed 8 --various --real "$DATA/real" --per-style 1
real demos --real "$DATA/real"
real pairs --mir1k "$DATA/mir1k" --singers Kenshin annar bobon bug fdps geniusturtle jmzen khair titon
[ -z "${PACKAGES:-}" ] || real backing --packages "$PACKAGES"
render various --split train --seed 3 --various --real "$DATA/real" --songs "$SONGS"
