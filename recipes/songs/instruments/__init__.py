"""How it sounds: soundfonts, synthesizers, drums, amplifiers."""
