"""The loaders that ``throughput.py`` and ``scaling.py`` compare, one module per family, each in a separate process."""
