"""One look serves all who ask."""

from __future__ import annotations

import asyncio

import pytest

from producers.single_flight import SingleFlight
from statemachine.errors import BrokerUnavailable


class Looks:
    """Counts looks; each waits until it is let go."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.count = 0
        self.go = asyncio.Event()
        self._fault = fault

    async def look(self) -> int:
        """The number of this look."""
        self.count += 1
        number = self.count
        await self.go.wait()
        if self._fault is not None:
            raise self._fault
        return number


async def test_who_asks_while_a_look_is_on_its_way_or_soon_after_gets_its_result() -> None:
    """Law: a hundred questions at once, and one more within the time, cost one look."""
    looks = Looks()
    flight = SingleFlight(looks.look, 60.0)
    asking = [asyncio.create_task(flight.result()) for _ in range(100)]
    await asyncio.sleep(0)
    looks.go.set()
    assert await asyncio.gather(*asking) == [1] * 100
    assert await flight.result() == 1
    assert looks.count == 1


async def test_a_result_that_is_too_old_is_found_out_anew() -> None:
    """Law: a result counts for its time and no longer."""
    looks = Looks()
    looks.go.set()
    flight = SingleFlight(looks.look)
    assert [await flight.result(), await flight.result()] == [1, 2]


async def test_who_stops_waiting_stops_the_look_for_nobody_else() -> None:
    """Law: one that is cut off by its own time limit takes no result from the others."""
    looks = Looks()
    flight = SingleFlight(looks.look, 60.0)
    impatient, patient = asyncio.create_task(flight.result()), asyncio.create_task(flight.result())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    looks.go.set()
    assert await patient == 1


async def test_an_error_is_shared_as_a_result_is() -> None:
    """Law: each who asks hears why the look failed, and it is not tried again for each."""
    looks = Looks(BrokerUnavailable("Kafka is not reachable"))
    looks.go.set()
    flight = SingleFlight(looks.look, 60.0)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            await flight.result()
    assert looks.count == 1


async def test_a_look_on_its_way_is_cut_off_at_the_end() -> None:
    """Law: nothing runs on when the owner has stopped."""
    looks = Looks()
    flight = SingleFlight(looks.look)
    asking = asyncio.create_task(flight.result())
    await asyncio.sleep(0)
    await flight.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking
