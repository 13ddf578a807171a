"""`python -m hepprune`, and the console script."""

import os
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends with one line even while its parts are being imported."""
    # Products of this size gain nothing by a second thread, and threads that wait for one another slow all others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        from hepprune.cli import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
