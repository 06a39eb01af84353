"""The command line's way in: `twinloop`, or `python -m twinloop` where that script is not on the path."""

import sys

from twinloop._interruption import heed_interrupts


def main() -> None:
    """Run the command line and exit with its code."""
    heed_interrupts()
    try:
        from twinloop.engine import cli  # noqa: PLC0415 - takes long enough to be interrupted
    except KeyboardInterrupt:
        sys.stderr.write("error interrupted, nothing was written\n")
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
