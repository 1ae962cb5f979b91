"""Commands that hear what is played: tempo, beats, key, chords."""
