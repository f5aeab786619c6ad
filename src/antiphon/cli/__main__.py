"""`python -m antiphon.cli`: the console script by another name."""

from antiphon.cli import main

main()
