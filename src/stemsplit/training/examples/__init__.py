"""Training examples: drawn from folders of songs or clips, and packed for other machines."""
