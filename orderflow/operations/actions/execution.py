"""Makes actions and carries them out, through trouble with Kafka.

Rules of the folder:
- Who holds the action's transactional id carries it out, and nobody else: an init fences whoever did before.
- What is sent, how far the action is and what is known of its letters are written in one transaction. So a kill anywhere leaves
  each record sent once and counted once; the next holder goes on from what was committed.
- Of one order, nothing is sent before what was sent before has its result (``tracker.py``).
- Results are read from what the order lane writes. The offsets from which they are still to be read are in the action's record.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from orderflow.operations.actions.attempt import Attempt, Order, TakenOver
from orderflow.operations.actions.reading import TopicReader
from orderflow.operations.actions.records import (
    ACTION_KEY,
    ActionRecord,
    Changed,
    Item,
    Request,
    encode,
    selection_parts,
)
from orderflow.operations.letters.letter import OWN_TOPICS
from producers.connection import KafkaConnection
from producers.outbox import Outbox
from producers.topics import Topic, prefixed
from producers.transaction import Probe, TransactionalProducer
from statemachine.errors import BrokerUnavailable, Fenced, TransactionAborted

#: An action that Kafka does not let go on is tried for so long, in seconds.
_TROUBLE_SECONDS: Final = 60.0
_BACKOFF_SECONDS: Final = 0.5
#: Kafka ends a transaction of a dead holder after so long, in milliseconds.
_TRANSACTION_MS: Final = 20_000


def action_producer(
    connection: KafkaConnection, prefix: str, action: str, *, probe: Probe | None = None
) -> TransactionalProducer:
    """The producer of whoever carries ``action`` out; its start fences the one before."""
    topics = [prefixed(prefix, topic) for topic in (Topic.OPERATIONS, Topic.INBOX, *sorted(OWN_TOPICS))]
    return TransactionalProducer(
        connection,
        group=f"{prefix}orderflow.action-{action}",
        partition=0,
        topics=topics,
        transaction_timeout_ms=_TRANSACTION_MS,
        probe=probe,
    )


async def make_action(connection: KafkaConnection, prefix: str, record: ActionRecord, items: Sequence[Item]) -> None:
    """Write an action that is planned, with its selection, all or nothing.

    Raises:
        BrokerError: Kafka did not answer or refused.
        ConfigError: Kafka refuses it for good.
    """
    producer = action_producer(connection, prefix, record.action)
    operations = prefixed(prefix, Topic.OPERATIONS)
    try:
        await producer.start()
        outbox = Outbox(producer.counts, home=0, home_count=0)
        for key, value in selection_parts(record.action, items):
            outbox.add_foreign(operations, key.encode(), value)
        outbox.add_foreign(operations, f"{ACTION_KEY}{record.action}".encode(), encode(record))
        await producer.transact(outbox, {}, timestamp_ms=round(time.time() * 1000))
    finally:
        await producer.close()


async def carry_out(
    reader: TopicReader,
    action: str,
    *,
    resumed: Changed | None = None,
    want: Request | None = None,
    told: Callable[[ActionRecord], None] | None = None,
    probe: Probe | None = None,
) -> ActionRecord:
    """Carry an action out until it has ended or is paused; trouble with Kafka is waited for.

    Args:
        reader: Of the topics ``NEEDED``.
        action: Its id.
        resumed: Who goes on with it, when it was begun before.
        want: A pause or an abort that is obeyed before anything is sent.
        told: Called with the action after each transaction.
        probe: For fault injection inside transactions.

    Returns:
        The action as it is then.

    Raises:
        TakenOver: Another process carries it out now.
        ConfigError: There is no such action, or its selection is not there.
        BrokerUnavailable: Kafka was away for too long; the action can be resumed.
    """
    order = Order(action, uuid.uuid4().hex, resumed, want)
    began, trouble_since = False, time.monotonic()
    while True:
        producer = action_producer(reader.connection, reader.prefix, action, probe=probe)
        attempt = Attempt(order, reader, producer, told)
        try:
            return await attempt.run(again=began)
        except Fenced as error:
            raise TakenOver(action) from error
        except (BrokerUnavailable, TransactionAborted) as error:
            if attempt.committed:
                began, trouble_since = True, time.monotonic()
            if time.monotonic() - trouble_since > _TROUBLE_SECONDS:
                raise BrokerUnavailable(f"{error}; orderflow actions resume {action} goes on") from error
            await asyncio.sleep(_BACKOFF_SECONDS)
