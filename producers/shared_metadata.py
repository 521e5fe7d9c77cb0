"""One answer about the cluster for producers that start one after the other.

A worker has a producer for each partition, and each asks for the partitions of all topics that it writes to: with 400
partitions 400 times thousands of entries, which took most of the time of a start. So an answer is kept for a moment, and the
first metadata of a producer that starts meanwhile is that answer.

Rules of the file:
- Only the first metadata of a producer may be shared. What it learns from an error, or asks again for, comes from Kafka.
- Metadata may always be old, so nothing rests on it: a leader that has moved is met as after any other move.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.cluster import ClusterMetadata

#: For so many seconds an answer is shared.
SHARED_SECONDS: Final = 2.0


class _Captured(ClusterMetadata):  # type: ignore[misc]  # aiokafka is untyped
    """Keeps the answer that it was made of."""

    answer: Any = None

    def update_metadata(self, metadata: Any) -> None:
        self.answer = metadata
        super().update_metadata(metadata)


class SharedMetadata:
    """The last answer about the topics of producers, for those that start within ``SHARED_SECONDS`` of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is steady, in seconds."""
        self._clock = clock
        self._answer: Any = None
        self._topics: frozenset[str] = frozenset()
        self._at = 0.0

    async def load(self, producer: AIOKafkaProducer, topics: Collection[str], *, fresh: bool) -> None:
        """Make the metadata of ``topics`` known to a producer that has started; ``fresh``: ask Kafka whatever is kept.

        A topic that is missing stays unknown: the producer looks for it when it is asked about it.

        Raises:
            KafkaError: As the client raises it.
        """
        client, wanted = producer.client, frozenset(topics)
        ask = client._metadata_update  # noqa: SLF001  # a version without it fails here, at the first start

        async def first(cluster: ClusterMetadata, asked: Collection[str]) -> bool:
            client._metadata_update = ask  # noqa: SLF001  # only once
            if not fresh and self._covers(asked):
                cluster.update_metadata(self._answer)
                return True
            captured = _Captured()
            done = bool(await ask(captured, asked))
            if done:
                cluster.update_metadata(captured.answer)
                if wanted <= captured.topics():
                    self._answer, self._topics, self._at = captured.answer, wanted, self._clock()
            return done

        client._metadata_update = first  # noqa: SLF001  # the synchronizer of the client calls it
        await client.set_topics(wanted)

    def _covers(self, asked: Collection[str]) -> bool:
        return self._topics == set(asked) and self._clock() - self._at < SHARED_SECONDS
