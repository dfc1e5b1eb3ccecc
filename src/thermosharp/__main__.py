"""The process: ``thermosharp``, or ``python -m thermosharp``."""

import atexit
import os
import sys
from contextlib import suppress

from thermosharp.cli import main


def run() -> None:
    """Run the command line, and end the process when all is done.

    Python would first take apart all that was imported, object by object: a thirtieth of a small
    run, and nothing comes of it. What asked to be called at the end is; where anything went wrong
    the process ends as usual.
    """
    try:
        main()
    except SystemExit as ended:
        if not ended.code:
            atexit._run_exitfuncs()
            with suppress(OSError):  # nobody reads any more: Python says what there is to say
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
        raise


if __name__ == "__main__":
    run()
