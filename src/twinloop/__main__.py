"""`python -m twinloop`: the command line, where its script is not on the path."""

from twinloop.engine.cli import main

main()
