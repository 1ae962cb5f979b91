"""From singing to its melody: pitch contour, notes, MIDI."""
