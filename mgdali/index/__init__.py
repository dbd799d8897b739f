"""The motion index: building, writing and reading a file with the motion and the properties of each video."""
