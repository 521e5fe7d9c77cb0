"""One line when Digital River stops answering, one when it answers again."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from orderflow.digitalriver.reachability import FAILURES_MAX, SILENT_SECONDS, Reachability
from statemachine.errors import Denied, DigitalRiverError, OffContract, Throttled, TransportFailure, Unavailable
from tests.unit.consumers.steady import Steady

ROUTE = "POST /refunds"
TROUBLES: list[tuple[DigitalRiverError, str, str]] = [
    (TransportFailure(f"{ROUTE}: the connection failed", sent=False), "does not answer", "ORDERFLOW_DIGITALRIVER_URL"),
    (TransportFailure(f"{ROUTE}: no answer in time", sent=True), "does not answer", "ORDERFLOW_DIGITALRIVER_TIMEOUT"),
    (Unavailable(f"{ROUTE}: HTTP 503", status=503), "does not answer", "ORDERFLOW_DIGITALRIVER_URL"),
    (Denied(f"{ROUTE}: HTTP 401", status=401), "denies the key", "ORDERFLOW_DIGITALRIVER_KEY"),
]


def lines_after(reachability: Reachability, error: DigitalRiverError, times: int = 1) -> list[EventDict]:
    """What is logged when requests fail."""
    with capture_logs() as logs:
        for _ in range(times):
            reachability.failed(error, reachability.clock())
    return list(logs)


@pytest.mark.parametrize(("error", "what", "setting"), TROUBLES)
def test_a_row_of_failures_is_one_line_with_the_name_the_call_and_the_setting(
    error: DigitalRiverError, what: str, setting: str
) -> None:
    """However many follow; and readiness says the same for as long as it lasts."""
    time = Steady()
    reachability = Reachability(time)
    [line] = lines_after(reachability, error, 100)
    assert (line["event"], line["log_level"]) == ("digital_river_unavailable", "error")
    assert f"Digital River {what}: {ROUTE}" in line["reason"]
    assert setting in line["remedy"]
    time.now += 40
    assert reachability.problem is not None
    assert f"Digital River {what}: {ROUTE}" in reachability.problem
    assert "for 40 s; check" in reachability.problem
    assert setting in reachability.problem


def test_an_answer_is_one_line_and_ends_the_problem() -> None:
    """The line says which call was answered, and how long it took."""
    time = Steady()
    reachability = Reachability(time)
    lines_after(reachability, TROUBLES[0][0], FAILURES_MAX)
    time.now += 61
    with capture_logs() as logs:
        reachability.answered("GET /orders/{id}")
        reachability.answered("GET /orders/{id}")
    [line] = logs
    assert (line["event"], line["seconds"]) == ("digital_river_available", 61)
    assert line["reason"] == "Digital River answers again: GET /orders/{id}"
    assert reachability.problem is None
    assert len(lines_after(reachability, TROUBLES[0][0], FAILURES_MAX)) == 1, "the next outage is told again"


def test_one_call_that_always_fails_among_others_is_not_an_outage() -> None:
    """As long as others are answered, the trouble is that object's."""
    reachability = Reachability(Steady())
    for _ in range(50):
        assert lines_after(reachability, TROUBLES[2][0], FAILURES_MAX - 1) == []
        reachability.answered(ROUTE)
    assert reachability.problem is None


def test_two_silent_calls_are_enough_when_they_took_their_time() -> None:
    """With few requests it must not take minutes until somebody is told; a single lost one is not told."""
    time = Steady()
    reachability = Reachability(time)
    time.now += 30
    with capture_logs() as logs:
        reachability.failed(TROUBLES[1][0], time.now - 30)
        assert logs == []
        reachability.failed(TROUBLES[1][0], time.now - SILENT_SECONDS)
    assert [line["event"] for line in logs] == ["digital_river_unavailable"]


@pytest.mark.parametrize("error", [Throttled("429", retry_after_seconds=1.0), OffContract("302", status=302)])
def test_an_answer_that_is_of_no_use_is_an_answer(error: DigitalRiverError) -> None:
    """It is there: what it means is another matter."""
    reachability = Reachability(Steady())
    lines_after(reachability, TROUBLES[0][0], FAILURES_MAX)
    assert [line["event"] for line in lines_after(reachability, error)] == ["digital_river_available"]
    assert reachability.problem is None


def test_time_outs_of_requests_that_began_before_an_answer_are_not_an_outage() -> None:
    """They end together, long after the others were answered; those that began after the answer count."""
    time = Steady()
    reachability = Reachability(time)
    began = time.now
    time.now += 1
    reachability.answered("GET /orders/{id}")
    time.now += 29
    error = TROUBLES[1][0]
    with capture_logs() as logs:
        for _ in range(2 * FAILURES_MAX):
            reachability.failed(error, began)
    assert (logs, reachability.problem) == ([], None)
    assert len(lines_after(reachability, error, FAILURES_MAX)) == 1


def test_calls_that_are_forbidden_are_not_an_outage() -> None:
    """Digital River is there and knows the key; what one key may not do, the lane that asked tells."""
    reachability = Reachability(Steady())
    forbidden = Denied(f"{ROUTE}: HTTP 403", status=403)
    assert lines_after(reachability, forbidden, 10 * FAILURES_MAX) == []
    assert reachability.problem is None
