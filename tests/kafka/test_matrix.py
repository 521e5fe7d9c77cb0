"""The table of Kafka versions: what it counts, and what makes the command fail."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from tests.kafka.matrix import GROUPS, KNOWN, PAGE, ROOT, VERSIONS, all_passed, read_report, table, write_page
from tests.kafka.server import VERSION

_REPORT = """<testsuites><testsuite>
<testcase file="tests/contract/broker/test_groups.py" name="test_a"/>
<testcase file="tests/contract/broker/test_records.py" name="test_b"><failure message="no"/></testcase>
<testcase file="tests/kits/test_kits.py" name="test_c"><skipped message="no node"/></testcase>
<testcase file="tests/kernel/test_late_frames.py" name="test_d"><skipped type="pytest.xfail" message="old"/></testcase>
<testcase file="tests/scenarios/test_scenarios.py"
 name="test_scenarios_side_by_side_end_as_they_say_on_apache_kafka"/>
</testsuite></testsuites>"""


def test_the_ends_of_tests_are_counted_by_group() -> None:
    """Passed, failed and skipped; a group without tests is not run, which is no pass either."""
    ends = read_report(_REPORT)
    text = table({"3.9.1": ends})
    assert "| transactions, fencing and groups | 1 failed, 1 passed |" in text
    assert "| kits and partitioners | 1 skipped |" in text
    assert "| scenarios, side by side | 1 passed |" in text
    assert "| rights | not run |" in text
    assert "| late requests of a dead worker | 1 with a known fault |" in text
    assert not all_passed({"3.9.1": ends})
    passed = {group: Counter(passed=1) for group in GROUPS}
    assert all_passed({"3.9.1": passed})
    assert all_passed({"3.9.1": passed | {"rights": Counter({"passed": 1, KNOWN: 1})}})
    assert not all_passed({"3.9.1": passed | {"rights": Counter({KNOWN: 1})}})
    assert not all_passed({"3.9.1": passed, "4.0.1": {}})


def test_the_page_has_the_table_once_however_often_it_is_written() -> None:
    """The text around it stays."""
    day = datetime(2031, 3, 4, tzinfo=UTC)
    once = write_page("| a |\n", PAGE.read_text(), on=day, kind="jars")
    assert "Run on 4 March 2031, each version from its jars, Java 17:\n\n| a |\n" in once
    assert write_page("| a |\n", once, on=day, kind="jars") == once
    assert once.partition("<!--")[0] == PAGE.read_text().partition("<!--")[0]


def test_what_the_groups_name_is_there() -> None:
    """A file that moved would be a group that is not run; the version of all other tests is one of the matrix."""
    assert [path for paths in GROUPS.values() for path in paths if not (ROOT / path.partition("::")[0]).exists()] == []
    assert VERSIONS[-1] == "4.3.1"
    assert VERSION
