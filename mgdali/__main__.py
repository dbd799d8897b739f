"""``python -m mgdali``: the command line."""

from mgdali.cli.main import main

if __name__ == "__main__":
    main()
