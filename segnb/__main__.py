"""``python -m segnb`` is the command ``segnb``; so is ``accelerate launch -m segnb``."""

import sys

from segnb.cli import main

if __name__ == "__main__":
    sys.exit(main())
