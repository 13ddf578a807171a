"""`python -m hepprune`, and the console script."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends with one line even while its parts are being imported."""
    try:
        from hepprune.cli import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
