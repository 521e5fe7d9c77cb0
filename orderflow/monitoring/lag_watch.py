"""Looks again and again how far the partitions of this worker are behind, also those that read nothing at the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from aiokafka import TopicPartition

from consumers.group.fleet_view import read_committed
from consumers.group.membership import Membership
from orderflow.monitoring.lag import Lag, Part, read_lags
from producers.connection import KafkaConnection
from producers.topics import Lane, group_id
from statemachine.errors import OrderflowError

log = structlog.get_logger(__name__)

#: Seconds between two looks.
INTERVAL_SECONDS: Final = 15.0
#: The same while the worker owns no partition.
_JOINING_SECONDS: Final = 1.0
#: So many records of each input are counted by reading.
COUNTED_MAX: Final = 1_000


class LagWatch:
    """Keeps the last lag of each owned partition."""

    def __init__(
        self,
        connection: KafkaConnection,
        prefix: str,
        lanes: Mapping[Lane, Membership],
        *,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        """``lanes`` may still be filled."""
        self._connection = connection
        self._prefix = prefix
        self._lanes = lanes
        self._interval_seconds = interval_seconds
        self._lags: dict[Part, Lag] = {}

    def lag(self, lane: Lane, number: int) -> Lag | None:
        """The lag of an owned partition; None while it is not known."""
        member = self._lanes.get(lane)
        return self._lags.get((lane, number)) if member is not None and number in member.owned else None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            pause = self._interval_seconds
            try:
                if not await self.look():
                    pause = min(pause, _JOINING_SECONDS)
            except OrderflowError as error:  # Kafka is away, which the lanes report
                self._lags = {}
                log.debug("lag_unknown", error=error)
            except Exception:
                self._lags = {}
                log.exception("measuring_failed", name="lag")
            await asyncio.sleep(pause)

    async def look(self) -> bool:
        """One look at all partitions that are owned; False when none is.

        Raises:
            BrokerUnavailable: Kafka cannot be reached, refuses, or does not answer.
        """
        inputs: dict[Part, list[TopicPartition]] = {
            (lane, number): [TopicPartition(topic, number) for topic in member.topics]
            for lane, member in self._lanes.items()
            for number in sorted(member.owned)
        }
        if not inputs:
            self._lags = {}
            return False
        groups = [group_id(self._prefix, lane) for lane in self._lanes]
        by_group = await read_committed(self._connection, groups)
        committed = {tp: place for found in by_group.values() for tp, place in found.items()}
        self._lags = await read_lags(self._connection, inputs, committed, records_max=COUNTED_MAX)
        return True
