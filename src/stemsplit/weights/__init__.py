"""Models on disk and on the way there: references, downloads, checks, public layouts, and what is published."""
