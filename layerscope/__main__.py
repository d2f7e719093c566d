"""`python -m layerscope` is the command `layerscope`."""

from layerscope.cli.main import main

main()
