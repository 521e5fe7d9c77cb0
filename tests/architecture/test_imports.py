"""Who may import whom. import-linter holds the contracts of pyproject.toml; what it cannot say is here."""

from __future__ import annotations

import subprocess
import sys

from tests.architecture.sources import PACKAGES, ROOT, imports_package, name_of, python_files


def test_the_import_contracts_are_kept() -> None:
    """Arrows point one way, and what decides is pure."""
    linting = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linting.returncode == 0, linting.stdout + linting.stderr


def test_transitions_is_imported_in_one_file() -> None:
    """The library behind the machine can be replaced in one place."""
    users = [name_of(path) for path in python_files(*PACKAGES) if imports_package(path, "transitions")]
    assert len(users) == 1, users
    assert users[0].startswith("statemachine/")


def test_kafka_is_spoken_where_records_are_read_and_written() -> None:
    """Kafka's client stays in lanes and what looks at them, producers, the embedded broker, the command line, the demo and what
    joins parts.
    """
    allowed = (
        "producers/",
        "consumers/",
        "orderflow/embedded_kafka/",
        "orderflow/cli/",
        "orderflow/bootstrap",
        "orderflow/operations/",
        "orderflow/monitoring/",
        "orderflow/demonstration/",
        "orderflow/replay/",
    )
    # The settings make TLS contexts as aiokafka makes them.
    users = [name_of(path) for path in python_files(*PACKAGES) if imports_package(path, "aiokafka")]
    strangers = [name for name in users if not name.startswith(allowed) and name != "orderflow/settings.py"]
    assert strangers == []


def test_http_is_spoken_by_the_application_only() -> None:
    """The lanes see Digital River through a port."""
    users = [name_of(path) for path in python_files(*PACKAGES) if imports_package(path, "aiohttp")]
    assert [name for name in users if not name.startswith("orderflow/")] == []


def test_only_the_settings_read_the_environment() -> None:
    """A part gets what it needs as an argument."""
    readers = [
        name_of(path)
        for path in python_files(*PACKAGES)
        if any(word in path.read_text() for word in ("os.environ", "os.getenv", "getenv("))
    ]
    assert readers == []
