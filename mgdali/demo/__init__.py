"""``mgdali demo``: a synthetic data set, a timed run of the loader, and a picture that explains the picks."""
