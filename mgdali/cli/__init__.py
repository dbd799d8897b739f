"""The ``mgdali`` command line, one module a command."""
