"""`python -m twinloop`: the command line, where `twinloop` itself is not on the path."""

from twinloop.engine.cli import main

if __name__ == "__main__":
    main()
