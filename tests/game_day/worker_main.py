"""A worker of a bad release: its ``decide`` raises on one type of event. The argument is a JSON object ``{lanes, broken}``."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog

from orderflow.bootstrap import run_worker
from orderflow.settings import load_settings
from producers.topics import Lane
from statemachine import decide as deciding


def main() -> None:
    """Work until SIGTERM."""
    given = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    run = deciding._run

    def faulty(draft: Any) -> str:
        if draft.event.type == given["broken"]:
            raise KeyError("a member that is not there")
        return run(draft)

    deciding._run = faulty
    asyncio.run(run_worker(load_settings(), tuple(Lane(name) for name in given["lanes"])))


if __name__ == "__main__":
    main()
