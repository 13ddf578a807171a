"""`python -m hepprune`, and the console script."""

import gc
import os
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends with one line even while its parts are being imported."""
    # Products of this size gain nothing by a second thread, and threads that wait for one another slow all others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    gc.set_threshold(20_000)  # torch makes so many objects that the usual 700 cost plots an eighth of their time
    try:
        from hepprune.cli import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
