"""A check reaches Kafka and nothing else: proven in a network that has nothing else, by what it tries to connect to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Runs the command line, and writes every address that a socket of it or of its processes is connected to.
_WATCHED = """
import os, sys

def watch(event, arguments):
    if event == "socket.connect":
        with open(os.environ["ADDRESSES"], "a") as log:
            print(arguments[-1], file=log)

sys.addaudithook(watch)
if __name__ == "__main__":
    from orderflow.__main__ import main
    main()
"""


@pytest.mark.timeout(150)
def test_a_check_connects_to_kafka_only(prefix: str, tmp_path: Path) -> None:
    """In a network namespace of its own, with Kafka beside it, and no route to anywhere else."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("network namespaces need root and util-linux")
    addresses, watched = tmp_path / "addresses", tmp_path / "watched.py"
    watched.write_text(_WATCHED)
    words = [sys.executable, str(Path(__file__).with_name("alone_main.py")), prefix, str(watched), str(addresses)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    ran = subprocess.run(
        ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *words],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout)
    assert (told["code"], told["document"]["differ"]) == (0, 0)
    assert told["document"]["changes"] > 5
    assert set(addresses.read_text().splitlines()) == {f"('127.0.0.1', {told['port']})"}
