"""The one error tree of orderflow; loops look at ``disposition`` and at nothing else.

    OrderflowError
      ConfigError              STOP         a person must change something before it can run
      ClientBroken             STOP         a part of the Kafka client has ended: only a new process is whole again
      RecordError              DEAD_LETTER  one record is bad, the ones around it are not
        DecodeError
        Unroutable
        RecordTooLarge
      BrokerError
        BrokerUnavailable      RETRY        Kafka does not answer
          TransactionOpen      RETRY        somebody's open transaction hides the end of what must be read
        TransactionAborted     RETRY        nothing of the transaction is visible, or its fate is settled by the next init
        Fenced                 REFENCE      another process owns the partition now
          PositionGap          STOP_PARTITION  offsets and position record disagree: an operator decides
          UnreadableTable      STOP_PARTITION  a record that we restore from is not what we write: an operator repairs it
      FuseBlown              STOP_PARTITION  too many dead letters: a bad deploy must stop, not empty the topic
      DigitalRiverError
        Throttled              RETRY        429, with the seconds to wait
        TransportFailure       RETRY        no answer; ``sent`` tells whether the request may have taken effect
        Unavailable            RETRY        5xx or 408: the outcome is open
        Denied                 HOLD         401 or 403: no command may be lost to a rotated key
        OffContract            UNKNOWN      an answer that the documented API does not give
      InvariantBroken          DEAD_LETTER  one order breaks a money or quantity rule: that order only, with attention

Library exceptions never cross a port: they are translated where they arise. Expected refusals are values, not exceptions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal


class Disposition(StrEnum):
    """What the loop that catches the error does next."""

    STOP = "stop"
    STOP_PARTITION = "stop_partition"
    DEAD_LETTER = "dead_letter"
    RETRY = "retry"
    REFENCE = "refence"
    HOLD = "hold"
    UNKNOWN = "unknown"


#: Values of the header ``orderflow-reason`` of a dead letter.
Reason = Literal[
    "undecodable", "invalid", "refused", "expired", "failed", "too_large", "misrouted", "bad_signature", "unroutable"
]


class OrderflowError(Exception):
    """Root of all errors that orderflow raises on purpose."""

    disposition: ClassVar[Disposition] = Disposition.STOP


class ConfigError(OrderflowError):
    """Settings or topics do not allow a start. STOP. Remedy: the message names what to change."""


class ClientBroken(OrderflowError):
    """A task of the Kafka client has ended: nothing would be read any more. STOP. Remedy: start the worker again."""


class RecordError(OrderflowError):
    """One record cannot be used. DEAD_LETTER, with ``reason`` and a line that a person understands and that quotes no value."""

    disposition = Disposition.DEAD_LETTER

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


class DecodeError(RecordError):
    """The record is not a message of its topic. DEAD_LETTER. Remedy: the sender's."""


class Unroutable(RecordError):
    """No order can be found for a Digital River object. DEAD_LETTER. Remedy: retry the letter once the order id is known."""

    def __init__(self, detail: str) -> None:
        super().__init__("unroutable", detail)


class RecordTooLarge(RecordError):
    """Its topic does not take a record as large. DEAD_LETTER. Remedy: the sender's, or the topic's ``max.message.bytes``."""

    def __init__(self, detail: str) -> None:
        super().__init__("too_large", detail)


class BrokerError(OrderflowError):
    """Kafka refused or did not answer. RETRY unless a subclass says otherwise."""

    disposition = Disposition.RETRY


class BrokerUnavailable(BrokerError):
    """Kafka could not be reached within a limit of ours. RETRY with back-off. Remedy: start or reach the broker."""


class TransactionOpen(BrokerUnavailable):
    """A partition that must be read to its end is readable to an open transaction only. RETRY: it ends or times out.

    Remedy, when it never does: ``kafka-transactions.sh find-hanging``, then ``abort``.
    """


class TransactionAborted(BrokerError):
    """A transaction failed or its end is in doubt; the producer is dead. RETRY with a new producer, whose init settles it."""


class Fenced(BrokerError):
    """Another process initialised our transactional id: it owns the partition. REFENCE: stop, wait, start at *fenced* again."""

    disposition = Disposition.REFENCE


class PositionGap(BrokerError):
    """Committed offsets and the position record contradict each other, or are out of range. STOP_PARTITION.

    Remedy: ``orderflow partitions accept P --use positions|committed --reason TEXT``.
    """

    disposition = Disposition.STOP_PARTITION


class UnreadableTable(BrokerError):
    """A record of ``orders``, ``skus`` or ``orderflow.positions`` that none of ours wrote. STOP_PARTITION.

    Remedy: the message names the topic and the key; write the right record there, or a tombstone.
    """

    disposition = Disposition.STOP_PARTITION


class FuseBlown(OrderflowError):
    """More than half of a partition's recent records became dead letters. STOP_PARTITION; the batch at hand is not committed.

    Remedy: find out what changed, then restart the worker; the letters can be retried.
    """

    disposition = Disposition.STOP_PARTITION


class DigitalRiverError(OrderflowError):
    """A call to Digital River brought no usable answer. RETRY unless a subclass says otherwise."""

    disposition = Disposition.RETRY

    def __init__(self, detail: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.request_id = request_id


class Throttled(DigitalRiverError):
    """429: nothing took effect. RETRY after ``retry_after_seconds`` (Digital River's ``Retry-After``)."""

    def __init__(self, detail: str, *, retry_after_seconds: float, request_id: str | None = None) -> None:
        super().__init__(detail, status=429, request_id=request_id)
        self.retry_after_seconds = retry_after_seconds


class TransportFailure(DigitalRiverError):
    """The connection failed or timed out. RETRY; when ``sent``, look the effect up before anything is written again."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent


class Unavailable(DigitalRiverError):
    """408 or 5xx: the effect may have happened. RETRY, look it up first."""


class Denied(DigitalRiverError):
    """401 or 403: key missing, rotated or without permission. HOLD: commands wait in Kafka. Remedy: fix the key."""

    disposition = Disposition.HOLD


class OffContract(DigitalRiverError):
    """An answer outside the documented API. UNKNOWN: never guessed, reported with attention."""

    disposition = Disposition.UNKNOWN


class InvariantBroken(OrderflowError):
    """An order would break a money or quantity rule. DEAD_LETTER ``failed`` for the record, attention on that order."""

    disposition = Disposition.DEAD_LETTER
