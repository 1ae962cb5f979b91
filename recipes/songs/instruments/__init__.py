"""What plays: soundfonts, synthesizers, drums, and a guitar amplifier."""
