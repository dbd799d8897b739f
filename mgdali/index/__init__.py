"""The motion index: building, writing and reading a file with the motion and the facts of each video."""
