"""The layers of the RoFormers: attention with rotary positions, bands that may overlap, mel bands."""
