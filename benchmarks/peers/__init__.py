"""The loaders that ``throughput.py`` and ``scaling.py`` compare, a module a family, each in a process of its own."""
