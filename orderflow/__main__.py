"""``python -m orderflow`` is the command ``orderflow``."""

from __future__ import annotations

import sys

from orderflow.sigterm import SERVICES, end_on_sigterm


def run() -> None:
    """Run the command line; a service ends in good order from its first moment on."""
    if set(sys.argv[1:2]) & set(SERVICES):
        end_on_sigterm()
    from orderflow.cli import main

    main(prog_name="orderflow")


if __name__ == "__main__":
    run()
