"""The log of a partition: offsets, sequences, stable end, aborted ranges, deletion."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from orderflow.embedded_kafka.log.batches import HEADER, RecordBatch, control_batch, read_batch, records_of
from orderflow.embedded_kafka.log.log import PartitionLog
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError

NOW_MS = 1_700_000_000_000


def _bytes(count: int = 1, *, producer: int = -1, epoch: int = -1, sequence: int = -1, tx: bool = False) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=tx,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        batch_size=1 << 20,
    )
    for number in range(count):
        builder.append(number, NOW_MS + number, b"%d" % number, b"value", [])
    return bytes(builder.build())


def _transactional(producer: int, sequence: int, *, epoch: int = 0) -> RecordBatch:
    return read_batch(_bytes(producer=producer, epoch=epoch, sequence=sequence, tx=True))


def _marker(producer: int, *, committed: bool, epoch: int = 0) -> RecordBatch:
    return control_batch(producer, epoch, committed=committed, timestamp=NOW_MS)


@pytest.fixture
def log() -> PartitionLog:
    """An empty partition."""
    return PartitionLog("topic", 0)


def test_offsets_are_dense_and_written_into_the_bytes(log: PartitionLog) -> None:
    """Each batch begins where the one before it ended, in the log and on the wire."""
    assert [log.append(read_batch(_bytes(count))) for count in (3, 1, 2)] == [0, 3, 4]
    assert log.end == 6
    found = log.read(0, log.end, 1 << 20, at_least_one=False)
    assert [HEADER.unpack_from(each)[0] for each in found] == [0, 3, 4]
    assert [record.offset for batch in log.batches for record in records_of(batch)] == list(range(6))


def test_a_read_begins_with_the_batch_that_holds_the_offset(log: PartitionLog) -> None:
    """An offset inside a batch gives the whole batch; limits cut between batches; one batch is given in any case."""
    for _ in range(3):
        log.append(read_batch(_bytes(2)))
    size = len(log.batches[0].data)
    assert len(log.read(3, log.end, 1 << 20, at_least_one=False)) == 2
    assert len(log.read(0, log.end, 2 * size, at_least_one=False)) == 2
    assert log.read(0, log.end, size - 1, at_least_one=False) == []
    assert len(log.read(0, log.end, 0, at_least_one=True)) == 1
    assert log.read(log.end, log.end, 1 << 20, at_least_one=True) == []


def test_the_stable_end_is_where_the_oldest_open_transaction_began(log: PartitionLog) -> None:
    """Transactions end in any order; the stable end moves only when the oldest one does."""
    log.append(_transactional(1, 0))
    log.append(_transactional(2, 0))
    assert log.stable_end == 0
    log.append_marker(_marker(2, committed=True), committed=True)
    assert log.stable_end == 0
    log.append_marker(_marker(1, committed=False), committed=False)
    assert log.stable_end == log.end == 4
    assert log.aborted_between(0, 4) == [(1, 0)]
    assert log.aborted_between(4, 4) == []


@pytest.mark.parametrize(
    ("epoch", "sequence", "code"),
    [
        (0, 2, Code.OUT_OF_ORDER_SEQUENCE_NUMBER),
        (1, 1, Code.OUT_OF_ORDER_SEQUENCE_NUMBER),
        (-1, 0, Code.INVALID_PRODUCER_EPOCH),
    ],
)
def test_a_batch_out_of_turn_is_refused_and_changes_nothing(
    log: PartitionLog, epoch: int, sequence: int, code: Code
) -> None:
    """A gap, a new epoch that does not begin at 0 and an old epoch are refused."""
    log.append(read_batch(_bytes(producer=1, epoch=0, sequence=0)))
    with pytest.raises(KafkaApiError) as refused:
        log.append(read_batch(_bytes(producer=1, epoch=epoch, sequence=sequence)))
    assert refused.value.code is code
    assert log.end == 1


def test_sequences_wrap_at_the_end_of_their_range(log: PartitionLog) -> None:
    """After 2**31 - 1 comes 0."""
    log.append(read_batch(_bytes(2, producer=1, epoch=0, sequence=2**31 - 2)))
    log.append(read_batch(_bytes(1, producer=1, epoch=0, sequence=0)))
    log.append(read_batch(_bytes(2, producer=2, epoch=0, sequence=2**31 - 1)))
    log.append(read_batch(_bytes(1, producer=2, epoch=0, sequence=1)))
    assert log.end == 6


def test_a_marker_makes_its_producer_known_where_it_wrote_nothing(log: PartitionLog) -> None:
    """The next sequence must then be 0, which is why a producer is useless after its first batch was refused."""
    log.append_marker(_marker(1, committed=False), committed=False)
    with pytest.raises(KafkaApiError):
        log.append(_transactional(1, 1))
    assert log.append(_transactional(1, 0)) == 1
    assert log.aborted == []


def test_deletion_forgets_batches_and_what_was_aborted_in_them(log: PartitionLog) -> None:
    """The start moves forward only, a batch cut in two stays, and beyond the end is refused."""
    log.append(_transactional(1, 0))
    log.append_marker(_marker(1, committed=False), committed=False)
    log.append(read_batch(_bytes(4)))
    log.delete_before(4)
    assert (log.start, log.end, len(log.batches), log.aborted) == (4, 6, 1, [])
    log.delete_before(3)
    assert log.start == 4
    with pytest.raises(KafkaApiError):
        log.delete_before(7)
    log.delete_before(6)
    assert (log.start, log.batches, log.size_bytes) == (6, [], 0)
    assert log.append(read_batch(_bytes())) == 6


def test_a_record_is_found_by_time_among_what_is_kept(log: PartitionLog) -> None:
    """Deleted records and markers are not found, nor what lies beyond the given end."""
    log.append(read_batch(_bytes(4)))
    assert log.find_time(NOW_MS + 2, log.end) == (NOW_MS + 2, 2)
    log.delete_before(3)
    assert log.find_time(0, log.end) == (NOW_MS + 3, 3)
    assert log.find_time(0, 0) is None
    assert log.find_time(NOW_MS + 9, log.end) is None


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda data: data[:40], Code.CORRUPT_MESSAGE),
        (lambda data: data[:-1], Code.CORRUPT_MESSAGE),
        (lambda data: data[:-1] + b"!", Code.CORRUPT_MESSAGE),
        (lambda data: data[:16] + b"\x01" + data[17:], Code.UNSUPPORTED_FOR_MESSAGE_FORMAT),
        (lambda data: data + data, Code.INVALID_RECORD),
        (lambda _: _bytes(0), Code.INVALID_RECORD),
        (lambda _: _marker(1, committed=True).data, Code.INVALID_RECORD),
    ],
    ids=["header", "short", "checksum", "format", "two_batches", "empty", "marker"],
)
def test_what_is_not_a_single_whole_batch_is_refused(damage: object, code: Code) -> None:
    """Producers send one batch with data per partition, and only the broker writes markers."""
    assert callable(damage)
    with pytest.raises(KafkaApiError) as refused:
        read_batch(damage(_bytes()))
    assert refused.value.code is code
