"""Snapshots on disk, for more orders than memory: one RocksDB database for each owned partition.

Rules of the file:
- Only what has committed in Kafka is written, and always together with its mark, in one atomic batch. There is no write-ahead
  log: a process that is killed loses its last writes, and what is left is an earlier state with the mark of that state.
- What cannot be opened, has another layout or has no mark is removed: Kafka has it all.
- A database is in use by one store at a time, a folder by one process (``DiskFolder``).
- No iterator is kept over an await: it would keep the database open after ``close``.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Self

import msgspec
import structlog

from consumers.ownership.store import Mark
from statemachine.errors import ConfigError, Disposition, OrderflowError

log = structlog.get_logger(__name__)

#: Everything that a process caches of its databases: blocks, their indexes and filters.
_CACHE_BYTES: Final = 16 * 1024 * 1024
#: What all databases of a process may hold unwritten; the fullest is written out first.
_UNWRITTEN_BYTES: Final = 16 * 1024 * 1024
_UNWRITTEN_BYTES_EACH: Final = 4 * 1024 * 1024
_BLOCK_BYTES: Final = 8 * 1024
_BLOOM_BITS: Final = 10
_OPEN_FILES_MAX: Final = 64
#: Snapshots that are read from disk at once.
_READ_AT_ONCE: Final = 500

#: Of the layout in a database: raised when it changes, so that older ones are built anew.
_FORMAT: Final = 1
_MARK: Final = b"m"
_SNAPSHOT: Final = b"s"
_AFTER_SNAPSHOTS: Final = b"t"
#: How RocksDB's messages begin when it does not read what it wrote.
_DAMAGED: Final = ("Corruption", "Invalid argument")


class StoreFailed(OrderflowError):
    """The disk store cannot be read or written: the disk is full, or the folder is not ours. STOP_PARTITION.

    Remedy: make room or give rights, then start the worker again; nothing is lost, Kafka has it all.
    """

    disposition = Disposition.STOP_PARTITION


class StoreDamaged(OrderflowError):
    """What the disk store reads is not what it wrote. REFENCE: it is removed and built anew from Kafka."""

    disposition = Disposition.REFENCE


class _Head(msgspec.Struct, frozen=True):
    """What a database is, and how far it goes."""

    format: int
    table: str
    partitions: int
    mark: Mark


_head_decoder = msgspec.json.Decoder(_Head)
_head_encoder = msgspec.json.Encoder()


class DiskFolder:
    """The folder of one process: one lock, and one cache for all its databases."""

    def __init__(self, path: Path, table: str, partitions: int) -> None:
        """``table``: the full name of the changelog, which has ``partitions`` partitions.

        Raises:
            ConfigError: rocksdict is not installed, the folder cannot be written, or another process uses it.
        """
        self._rocks = rocksdict_for(path)
        self.path = path
        self.table = table
        self.partitions = partitions
        self._lock = _locked(path)
        self._cache = self._rocks.Cache(_CACHE_BYTES)
        self._unwritten = self._rocks.WriteBufferManager(_UNWRITTEN_BYTES, allow_stall=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Release the lock. The stores must be closed before."""
        os.close(self._lock)

    def open(self, number: int) -> DiskStore:
        """The store of a partition, as it was left if that is whole.

        Raises:
            StoreFailed: The disk cannot be read or written.
        """
        return DiskStore(self, number, self._rocks)

    def options(self) -> Any:
        """How each database is opened: small, because a process may have many."""
        rocks = self._rocks
        blocks = rocks.BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_block_size(_BLOCK_BYTES)
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_bloom_filter(_BLOOM_BITS, False)
        options = rocks.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self._unwritten)
        options.set_write_buffer_size(_UNWRITTEN_BYTES_EACH)
        options.set_max_write_buffer_number(2)
        options.set_compression_type(rocks.DBCompressionType.lz4())
        options.set_bottommost_compression_type(rocks.DBCompressionType.zstd())
        options.set_max_background_jobs(2)
        options.set_max_open_files(_OPEN_FILES_MAX)
        options.set_keep_log_file_num(1)
        options.set_max_log_file_size(1024 * 1024)
        options.set_stats_dump_period_sec(0)
        return options


class DiskStore:
    """A ``Store`` in a RocksDB database."""

    def __init__(self, folder: DiskFolder, number: int, rocks: ModuleType) -> None:
        self._folder = folder
        self._number = number
        self._rocks = rocks
        self._path = folder.path / f"{folder.table}-{number}"
        self._unlogged = rocks.WriteOptions()
        self._unlogged.disable_wal = True
        self._damaged = False
        self._mark: Mark | None = None
        self._db: Any = None
        self._open()

    @property
    def mark(self) -> Mark | None:
        """How much of the changelog it had when it was opened, or cleared; None: nothing."""
        return self._mark

    def get(self, key: str) -> bytes | None:
        """The snapshot, or None when there is none.

        Raises:
            StoreDamaged: The disk returned something else than was written.
            StoreFailed: It cannot be read.
        """
        try:
            found: bytes | None = self._db.get(_SNAPSHOT + key.encode())
        except Exception as error:
            raise self._failed(error) from error
        return found

    def apply(self, changes: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        """Adopt the snapshots of a committed transaction, or of the changelog, and their mark, in one atomic write.

        Raises:
            StoreFailed: The disk is full, or cannot be written.
        """
        batch = self._rocks.WriteBatch(raw_mode=True)
        for key, snapshot in changes.items():
            if snapshot is None:
                batch.delete(_SNAPSHOT + key.encode())
            else:
                batch.put(_SNAPSHOT + key.encode(), snapshot)
        if mark is not None:
            batch.put(_MARK, self._head(mark))
        try:
            self._db.write(batch, self._unlogged)
        except Exception as error:
            raise self._failed(error) from error

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All snapshots, in the order of their keys.

        Raises:
            StoreDamaged: The disk returned something else than was written.
            StoreFailed: It cannot be read.
        """
        begin = _SNAPSHOT
        while lot := self._lot(begin):
            for key, snapshot in lot:
                yield key[1:].decode(), snapshot
            begin = lot[-1][0] + b"\0"

    def keys(self) -> Iterable[str]:
        """The keys in their order; none any more once the store is closed.

        Raises:
            StoreDamaged: The disk returned something else than was written.
            StoreFailed: It cannot be read.
        """
        begin = _SNAPSHOT
        while self._db is not None and (lot := self._lot(begin, values=False)):
            for key, _ in lot:
                yield key[1:].decode()
            begin = lot[-1][0] + b"\0"

    def _lot(self, begin: bytes, *, values: bool = True) -> list[tuple[bytes, bytes]]:
        """Some snapshots from a key on."""
        lot: list[tuple[bytes, bytes]] = []
        at: Any = None
        try:
            at = self._db.iter()
            at.seek(begin)
            while len(lot) < _READ_AT_ONCE and at.valid() and (key := at.key()) < _AFTER_SNAPSHOTS:
                lot.append((key, at.value() if values else b""))
                at.next()
            at.status()
        except Exception as error:
            raise self._failed(error) from error
        finally:
            at = None  # an error keeps this frame, and the iterator would keep the database open
        return lot

    def __len__(self) -> int:
        """How many snapshots there are, estimated: what was written twice may count twice for a while."""
        try:
            return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)
        except Exception as error:
            raise self._failed(error) from error

    def clear(self) -> None:
        """Remove all snapshots, and the mark.

        Raises:
            StoreFailed: The disk cannot be written.
        """
        self._damaged = True
        self.close()
        self._open_once()

    def close(self) -> None:
        """Write out what is in memory and close the database; a damaged one is removed. Never raises; may be called again."""
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except Exception as error:  # noqa: BLE001 - rocksdict knows no narrower class; the mark says how far it came
                log.warning("store_not_closed", partition=self._number, error=self._failed(error))
        if self._damaged:
            shutil.rmtree(self._path, ignore_errors=True)
            self._damaged, self._mark = False, None

    def _open(self) -> None:
        """Open the database; one that cannot be read, or is not what this process writes, begins anew."""
        try:
            self._open_once()
        except StoreDamaged as error:
            log.warning("store_rebuilt", partition=self._number, error=error)
            self.close()
            self._open_once()

    def _open_once(self) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._db = self._rocks.Rdict(str(self._path), self._folder.options())
            head = self._db.get(_MARK)
        except Exception as error:
            raise self._failed(error) from error
        if head is not None:
            self._mark = self._read(head)
        elif self._lot(b""):
            self._damaged = True
            raise StoreDamaged("it does not say how far it goes")

    def _read(self, head: bytes) -> Mark:
        try:
            found = _head_decoder.decode(head)
        except msgspec.DecodeError:
            found = None
        written = None if found is None else (found.format, found.table, found.partitions)
        if found is None or written != (_FORMAT, self._folder.table, self._folder.partitions):
            self._damaged = True
            raise StoreDamaged("it was written for another version, or another topic")
        return found.mark

    def _head(self, mark: Mark) -> bytes:
        return _head_encoder.encode(_Head(_FORMAT, self._folder.table, self._folder.partitions, mark))

    def _failed(self, error: Exception) -> OrderflowError:
        """An error of rocksdict, which is a bare exception with a text, as ours."""
        said = _said(error)
        if said.startswith(_DAMAGED):
            self._damaged = True
            return StoreDamaged(f"{self._path} is damaged: {said}")
        return StoreFailed(
            f"partition {self._number} stopped: {self._path} cannot be used: {said}; "
            "make room or give rights, then start the worker again"
        )


def _said(error: Exception) -> str:
    """The first line of what RocksDB says: what is wrong and in which file, never a value of a record."""
    return f"{error}".partition("\n")[0][:200] or type(error).__name__


def rocksdict_for(path: Path) -> ModuleType:
    """The library, which is an extra, for a store in the folder ``path``.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import rocksdict
    except ImportError as error:
        raise ConfigError(
            f"ORDERFLOW_STORE=rocksdb:{path} needs rocksdict, which is not installed: install orderflow[rocksdb]"
        ) from error
    found: ModuleType = rocksdict
    return found


def _locked(path: Path) -> int:
    """The descriptor of the folder's lock, which a process has until it ends, however it ends."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"ORDERFLOW_STORE=rocksdb:{path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise ConfigError(
            f"ORDERFLOW_STORE=rocksdb:{path}: another process uses this folder; each worker needs one of its own"
        ) from error
    return lock
