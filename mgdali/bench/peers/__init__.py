"""The loaders that are compared, one module per family, each in a separate process."""
