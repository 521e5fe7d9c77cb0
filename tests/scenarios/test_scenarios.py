"""Every scenario ends as it says: on the embedded Kafka and on Apache Kafka, by the same runner."""

from __future__ import annotations

from typing import Final

import pytest

from orderflow.demonstration.environment import demo_environment
from orderflow.demonstration.scenario import Scenario, available, load
from orderflow.demonstration.scenario_runner import run_all, start_runner

#: Short, because a story waits for each of the simulator's steps; long enough that what is "pending" is seen as that.
DELAY_SECONDS: Final = 0.5

SCENARIOS: Final = {path.stem: load(path) for path in available()}
_ALONE: Final = [name for name, scenario in SCENARIOS.items() if scenario.is_alone]


async def _wrong(scenarios: list[Scenario], bootstrap: str | None = None, prefix: str = "") -> list[str]:
    """Play scenarios side by side on one environment; what did not end as it must."""
    settings = scenarios[0].title.settings
    environment = demo_environment(bootstrap=bootstrap, prefix=prefix, settings=settings, delay_seconds=DELAY_SECONDS)
    async with environment as place, start_runner(place) as runner:
        return await run_all(runner, scenarios)


def _together() -> list[Scenario]:
    return [scenario for scenario in SCENARIOS.values() if not scenario.is_alone]


@pytest.mark.timeout(60)
async def test_scenarios_side_by_side_end_as_they_say() -> None:
    """Many orders at the same time do not disturb each other, and each ends as its file says."""
    assert await _wrong(_together()) == []


@pytest.mark.parametrize("name", _ALONE)
async def test_a_scenario_with_a_stage_of_its_own_ends_as_it_says(name: str) -> None:
    """What changes time, faults or settings for all orders is played by itself."""
    assert await _wrong([SCENARIOS[name]]) == []


@pytest.mark.kafka
@pytest.mark.timeout(90)
async def test_scenarios_side_by_side_end_as_they_say_on_apache_kafka(apache_kafka: str, prefix: str) -> None:
    """The stories are true of a real Kafka."""
    assert await _wrong(_together(), apache_kafka, prefix) == []


@pytest.mark.kafka
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", _ALONE)
async def test_a_scenario_with_a_stage_of_its_own_ends_as_it_says_on_apache_kafka(
    name: str, apache_kafka: str, prefix: str
) -> None:
    """Those that change time, faults or settings too."""
    assert await _wrong([SCENARIOS[name]], apache_kafka, prefix) == []
