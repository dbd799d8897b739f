"""Measuring loaders on the user's own videos, and what limits this one."""
