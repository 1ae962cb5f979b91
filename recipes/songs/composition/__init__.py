"""What is played: forms, harmonies, bass lines, melodies and accompaniments, as notes."""
