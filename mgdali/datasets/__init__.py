"""Data sets: which videos there are, and their labels, from folders, lists and tar shards. Nothing is decoded here."""
