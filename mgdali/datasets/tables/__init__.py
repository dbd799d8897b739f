"""Tables with one row per video: reading them, and the videos, labels and segments in them."""
