"""Comparison of sampling strategies on the user's own labelled videos, with frozen features and linear heads."""
