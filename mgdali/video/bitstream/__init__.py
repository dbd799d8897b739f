"""Coded bitstreams: the headers of streams, packets and frames, read without decoding."""
