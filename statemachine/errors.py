"""The errors that orderflow raises on purpose, in one tree.

    OrderflowError
      ConfigError              STOP            somebody must change something before it can run
      ClientBroken             STOP            a part of the Kafka client has ended: only a new process is whole again
      RecordError              DEAD_LETTER     one record is bad, the ones around it are not
        DecodeError
        Unroutable
        RecordTooLarge
      BrokerError              RETRY
        BrokerUnavailable      RETRY           Kafka does not answer
          TransactionOpen      RETRY           somebody's open transaction hides the end of what must be read
        TransactionAborted     RETRY           nothing of the transaction is visible, or the next init decides what is
        Fenced                 REFENCE         another process owns the partition now
        PositionGap            STOP_PARTITION  offsets and position record disagree: an operator decides
        UnreadableTable        STOP_PARTITION  a record of a table is not what we write: an operator repairs it
      FuseBlown                STOP_PARTITION  too many dead letters: a bad deploy must stop, not empty the topic
      DigitalRiverError        RETRY
        Throttled              RETRY           429, with ``retry_after_seconds``
        TransportFailure       RETRY           no answer; ``may_have_effect`` when the request was sent
        Unavailable            RETRY           5xx or 408: whether it took effect is open
        Denied                 HOLD            401, or 403 when ``is_forbidden``: no command may be lost to a rotated key
        OffContract            UNKNOWN         an answer that the documented API does not give
      InvariantBroken          DEAD_LETTER     one order breaks a rule of money or units: that order only, with attention

Declared elsewhere: ``LeaseExpired`` in ``consumers.ownership.lease`` (RETRY), ``StoreFailed`` (STOP_PARTITION) and
``StoreDamaged`` (REFENCE) in ``consumers.storage.disk``, and ``DemoFailed`` of the demo (STOP).

A loop that owns a partition does what ``disposition`` says. There are two that must not reach it: DEAD_LETTER, which lanes
handle record by record, stops the partition; UNKNOWN, which the command lane turns into an outcome, ends the worker. The
loops that call Digital River also look at the attributes of ``DigitalRiverError``. A class is looked at only where one error
gets its own words or its own counter.

Library exceptions never cross a port: they are translated where they arise. Expected refusals are values, not exceptions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final, Literal

from statemachine.refusals import OwnCode


class Disposition(StrEnum):
    """What the loop that catches the error does next."""

    #: The process ends.
    STOP = "stop"
    #: This partition is left alone until an operator has done something; the others go on.
    STOP_PARTITION = "stop_partition"
    #: The record is set aside with a reason, and the next one is read.
    DEAD_LETTER = "dead_letter"
    #: The same again after a pause.
    RETRY = "retry"
    #: All that is known of the partition is dropped, and it is taken over anew.
    REFENCE = "refence"
    #: Nothing is called until somebody has repaired the key.
    HOLD = "hold"
    #: What became of the command is not known: it is looked up.
    UNKNOWN = "unknown"


#: The HTTP status of a call that the key has no right to.
_FORBIDDEN: Final = 403

#: Values of the header ``orderflow-reason`` of a dead letter.
Reason = Literal[
    "undecodable", "invalid", "refused", "expired", "failed", "too_large", "misrouted", "bad_signature", "unroutable"
]


class OrderflowError(Exception):
    """Root of all errors that orderflow raises on purpose."""

    disposition: ClassVar[Disposition] = Disposition.STOP


class ConfigError(OrderflowError):
    """Settings, topics or rights do not allow a start. STOP. Remedy: the message names what to change."""


class ClientBroken(OrderflowError):
    """A task of the Kafka client has ended: nothing would be read any more. STOP. Remedy: start the worker again."""


class RecordError(OrderflowError):
    """One record cannot be used. DEAD_LETTER, with a ``reason``, a ``code`` and a ``detail``: one line for a person, no value."""

    disposition = Disposition.DEAD_LETTER

    def __init__(self, reason: Reason, detail: str, code: OwnCode) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail
        self.code: OwnCode = code


class DecodeError(RecordError):
    """The record is not a message of its topic. DEAD_LETTER. Remedy: the sender corrects it and sends it again."""


class Unroutable(RecordError):
    """No order can be found for a Digital River object. DEAD_LETTER. Remedy: retry the letter once the order id is known."""

    def __init__(self, detail: str) -> None:
        super().__init__("unroutable", detail, "digitalriver.order_not_found")


class RecordTooLarge(RecordError):
    """The record is larger than its topic allows. DEAD_LETTER. Remedy: send less, or raise the topic's ``max.message.bytes``."""

    def __init__(self, detail: str) -> None:
        super().__init__("too_large", detail, "record.too_large")


class BrokerError(OrderflowError):
    """Kafka refused or did not answer. RETRY unless a subclass says otherwise."""

    disposition = Disposition.RETRY


class BrokerUnavailable(BrokerError):
    """Kafka could not be reached within a limit of ours. RETRY with back-off. Remedy: start or reach the broker."""


class TransactionOpen(BrokerUnavailable):
    """A partition must be read to its end, but an open transaction hides the end. RETRY: the transaction ends or times out.

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
    """A record of ``orders``, ``skus`` or ``orderflow.positions`` is not what orderflow writes. STOP_PARTITION.

    Remedy: the message names the topic and the key; write a correct record there, or a tombstone.
    """

    disposition = Disposition.STOP_PARTITION


class FuseBlown(OrderflowError):
    """More than half of a partition's recent records became dead letters. STOP_PARTITION; the batch at hand is not committed.

    Remedy: find out what changed, then restart the worker; the letters can be retried.
    """

    disposition = Disposition.STOP_PARTITION


class DigitalRiverError(OrderflowError):
    """A call to Digital River brought no usable answer. RETRY unless a subclass says otherwise.

    Attributes:
        status: The HTTP status; None when there was no answer.
        request_id: Digital River's id of the request, for its support.
        may_have_effect: The request may have taken effect: look before anything is written again.
        retry_after_seconds: How long Digital River asks to wait; None when it did not say.
    """

    disposition = Disposition.RETRY
    may_have_effect: bool = True
    retry_after_seconds: float | None = None

    def __init__(self, detail: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.request_id = request_id

    @property
    def is_forbidden(self) -> bool:
        """The key is good, but has no right to this one call."""
        return False


class Throttled(DigitalRiverError):
    """429: nothing took effect. RETRY after ``retry_after_seconds`` (Digital River's ``Retry-After``)."""

    may_have_effect = False
    retry_after_seconds: float

    def __init__(self, detail: str, *, retry_after_seconds: float, request_id: str | None = None) -> None:
        super().__init__(detail, status=429, request_id=request_id)
        self.retry_after_seconds = retry_after_seconds


class TransportFailure(DigitalRiverError):
    """The connection failed or timed out. RETRY; when ``sent``, look the effect up before anything is written again."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = self.may_have_effect = sent


class Unavailable(DigitalRiverError):
    """408 or 5xx: the effect may have happened. RETRY, look it up first."""


class Denied(DigitalRiverError):
    """401 or 403: the key is missing, was rotated or lacks a right. Nothing took effect. HOLD: commands wait in Kafka.

    Remedy: correct the key, or have the right granted.
    """

    disposition = Disposition.HOLD
    may_have_effect = False

    @property
    def is_forbidden(self) -> bool:
        """The key is good, but has no right to this one call."""
        return self.status == _FORBIDDEN


class OffContract(DigitalRiverError):
    """An answer outside the documented API. UNKNOWN: never guessed, reported with attention."""

    disposition = Disposition.UNKNOWN


class InvariantBroken(OrderflowError):
    """An order would break a rule of money or units, or contradicts itself. DEAD_LETTER ``failed``, attention on that order."""

    disposition = Disposition.DEAD_LETTER
