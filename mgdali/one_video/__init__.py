"""One video at a time: its picked frames, and pictures that explain the picks."""
