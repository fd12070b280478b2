"""`python -m bylaw`."""

from bylaw.runtime.cli import main

main()
