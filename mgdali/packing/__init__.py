"""Packing: writing data sets whose videos are cheap to decode in parts."""
