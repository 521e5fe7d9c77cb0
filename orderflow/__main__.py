"""``python -m orderflow`` is the command ``orderflow``."""

from __future__ import annotations

from orderflow.cli import main

if __name__ == "__main__":
    main(prog_name="orderflow")
