"""`python -m hepprune`, and the console script."""

import os
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends with one line even while its parts are being imported."""
    _take_one_thread()
    try:
        from hepprune.cli import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def _take_one_thread() -> None:
    """Let torch and numpy compute on one thread where OMP_NUM_THREADS does not ask for more, before they are imported.

    Products of this size gain nothing by a second thread, and threads that wait for one another keep the cores from
    whatever else runs: where the cores were busy, two took five to eight times the processor time of one.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")


if __name__ == "__main__":
    main()
