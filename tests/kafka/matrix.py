"""``make kafka-matrix``: a chosen set of the tests on each version of Apache Kafka that we name, and the table of the page.

``python -m tests.kafka.matrix [--versions 3.9.1 4.0.1] [--kind container] [--write]``. Exit code 1 when a test
failed, was skipped or did not run. ``--write`` puts the table and the date into ``docs/reference/kafka-versions.md``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs/reference/kafka-versions.md"
#: The last of 3.x, the first without ZooKeeper, and the one that all other tests run on.
VERSIONS: Final = ("3.9.1", "4.0.1", "4.3.1")
#: What is run, by its line in the table.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "transactions, fencing and groups": ("tests/contract/broker",),
    "workers killed and frozen inside a transaction": ("tests/kernel/test_takeover.py",),
    "late requests of a dead worker": ("tests/kernel/test_late_frames.py",),
    "a broker that is killed or frozen": ("tests/kafka/test_kafka_server.py",),
    "TLS, PLAIN and SCRAM; `topics create` and `check`": ("tests/kafka/test_secured_kafka.py",),
    "rights": ("tests/kafka/test_rights.py",),
    "the lanes that call Digital River": ("tests/lanes/test_lanes_on_kafka.py",),
    "scenarios, side by side": (
        "tests/scenarios/test_scenarios.py::test_scenarios_side_by_side_end_as_they_say_on_apache_kafka",
    ),
    "kits and partitioners": ("tests/kits",),
}
_TABLE: Final = re.compile(r"(?<=<!-- written by tests.kafka.matrix -->\n).*(?=<!-- end -->)", re.DOTALL)

#: A test that cannot pass because of a fault of that Kafka, which the page describes.
KNOWN: Final = "with a known fault"
#: How many tests of a group ended how: ``passed``, ``failed``, ``skipped``, or ``KNOWN``.
Ends = Counter[str]


def run_on(version: str, kind: str, arguments: Sequence[str]) -> dict[str, Ends]:
    """The ends of the tests by group, on one version; pytest's own words go to the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        chosen = [path for paths in GROUPS.values() for path in paths]
        command = [sys.executable, "-m", "pytest", "-q", "-m", "kafka and not soak", "-o", "junit_family=xunit1"]
        subprocess.run(
            [*command, f"--junitxml={report}", *chosen, *arguments],
            cwd=ROOT,
            env=os.environ | {"ORDERFLOW_TEST_KAFKA_VERSION": version, "ORDERFLOW_TEST_KAFKA": kind},
            check=False,
        )
        return read_report(report.read_text()) if report.exists() else {}


def read_report(report: str) -> dict[str, Ends]:
    """The ends by group, from pytest's report."""
    found: dict[str, Ends] = {}
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314  # pytest wrote it a moment ago
        name = f"{case.get('file')}::{case.get('name')}"
        group = next(group for group, paths in GROUPS.items() if name.startswith(paths))
        bad = {"failure", "error"} & {part.tag for part in case}
        skipped = case.find("skipped")
        known = skipped is not None and skipped.get("type") == "pytest.xfail"
        end = "failed" if bad else KNOWN if known else "skipped" if skipped is not None else "passed"
        found.setdefault(group, Counter())[end] += 1
    return found


def table(ends: Mapping[str, Mapping[str, Ends]]) -> str:
    """The table in Markdown: a line for each group, a column for each version."""
    lines = [f"| on Kafka | {' | '.join(ends)} |", f"|---|{'---|' * len(ends)}"]
    for group in GROUPS:
        cells = []
        for by_group in ends.values():
            counted = by_group.get(group, Ends())
            cells.append(", ".join(f"{count} {end}" for end, count in sorted(counted.items())) or "not run")
        lines.append(f"| {group} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def all_passed(ends: Mapping[str, Mapping[str, Ends]]) -> bool:
    """Whether each group ran on each version, and none of its tests failed or was skipped, but for known faults."""
    found = [set(by_group.get(group, Ends())) - {KNOWN} for by_group in ends.values() for group in GROUPS]
    return all(one == {"passed"} for one in found)


def write_page(text: str, page: str, *, on: datetime, kind: str) -> str:
    """The page with this table and this date."""
    day = f"{on.day} {on:%B %Y}"
    ran = {"jars": "each version from its jars, Java 17", "container": "each version from the image apache/kafka"}[kind]
    return _TABLE.sub(lambda _: f"\nRun on {day}, {ran}:\n\n{text}\n", page)


def main() -> None:
    """Run, print the table, write it when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS), metavar="VERSION")
    parser.add_argument("--kind", choices=["jars", "container"], default="jars", help="where Kafka comes from")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    given, arguments = parser.parse_known_args()
    ends = {version: run_on(version, given.kind, arguments) for version in given.versions}
    print(table(ends), end="")  # noqa: T201  # a command
    if given.write:
        PAGE.write_text(write_page(table(ends), PAGE.read_text(), on=datetime.now(UTC), kind=given.kind))
    raise SystemExit(not all_passed(ends))


if __name__ == "__main__":
    main()
