"""The command line, also as `python -m holdfast`."""

import sys


def run() -> int:
    """Run the command line; its exit status.

    Ctrl-C ends it with status 130 also while its modules are being imported, before `cli.main` answers signals.
    """
    try:
        from .cli import main
    except KeyboardInterrupt:
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
