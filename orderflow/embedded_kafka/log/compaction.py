"""Compaction: of all records with one key only the last stays, at the offset that it had.

Rules, as Kafka's log cleaner has them: nothing at or beyond the last stable offset is touched; records of aborted transactions
go, and their markers with them; a tombstone stays ``delete.retention.ms`` after compaction first met it, so that readers see
it; what is younger than ``min.compaction.lag.ms``, and all after it, stays; the last batch stays, emptied if need be, so that a
reader's position can reach the end.
"""

from __future__ import annotations

from itertools import takewhile
from math import inf

from orderflow.embedded_kafka.log.batches import Record, RecordBatch, records_of, thinned
from orderflow.embedded_kafka.log.log import Aborted, PartitionLog


def cleanable(log: PartitionLog, now_ms: float, lag_ms: int) -> list[RecordBatch]:
    """The batches that may be compacted: those before the first open transaction and the first batch younger than the lag."""
    stable_end, youngest = log.stable_end, now_ms - lag_ms if lag_ms else inf
    return list(takewhile(lambda one: one.last_offset < stable_end and one.max_timestamp <= youngest, log.batches))


def compact(log: PartitionLog, now_ms: float, delete_retention_ms: int, lag_ms: int = 0) -> int:
    """Compact one partition at ``now_ms`` (since the epoch) and return how many records went, control records too.

    ``lag_ms``: records that are younger stay, as ``min.compaction.lag.ms`` says.
    """
    cleaned = cleanable(log, now_ms, lag_ms)
    if not cleaned:
        return 0
    dropped = _aborted_batches(cleaned, log.aborted)
    last_offsets: dict[bytes | None, int] = {}
    contents: list[list[Record]] = []
    for batch in cleaned:
        records = [] if batch.is_control or batch.base_offset in dropped else list(records_of(batch))
        contents.append(records)
        last_offsets.update((record.key, record.offset) for record in records)
    kept_batches: list[RecordBatch] = []
    removed = 0
    for batch, records in zip(cleaned, contents, strict=True):
        if batch.is_control:
            removed += _keep_last(batch, log, kept_batches)
            continue
        gone_until = batch.tombstones_until
        kept = [
            record
            for record in records
            if last_offsets[record.key] == record.offset
            and (record.value is not None or gone_until is None or now_ms < gone_until)
        ]
        total = len(records) if batch.base_offset not in dropped else batch.last_offset - batch.base_offset + 1
        removed += total - len(kept)
        if gone_until is None and any(record.value is None for record in kept):
            batch.tombstones_until = now_ms + delete_retention_ms
        if kept and len(kept) == total:
            kept_batches.append(batch)
        elif kept or batch is log.batches[-1]:
            kept_batches.append(thinned(batch, kept))
    untouched = log.batches[len(cleaned) :]
    log.replace(kept_batches + untouched)
    # An entry without its marker would hide later records of the same producer, so both go or both stay.
    markers = {batch.base_offset for batch in log.batches if batch.is_control}
    log.aborted = [each for each in log.aborted if each.marker_offset in markers]
    log.dirty_bytes = sum(len(batch.data) for batch in untouched)
    return removed


def _keep_last(batch: RecordBatch, log: PartitionLog, kept: list[RecordBatch]) -> int:
    """Keep a control batch only as the end of the log: the data that it decides on has been decided on here."""
    if batch is not log.batches[-1]:
        return 1
    kept.append(batch)
    return 0


def _aborted_batches(batches: list[RecordBatch], aborted: list[Aborted]) -> set[int]:
    """Base offsets of the data batches that belong to an aborted transaction."""
    ranges: dict[int, list[Aborted]] = {}
    for each in aborted:
        ranges.setdefault(each.producer_id, []).append(each)
    return {
        batch.base_offset
        for batch in batches
        if batch.is_transactional
        and not batch.is_control
        and any(
            each.first_offset <= batch.base_offset < each.marker_offset for each in ranges.get(batch.producer_id, ())
        )
    }
