"""The ``mgdali`` command line: one module per command, on top of all other folders."""
