"""The disk store by itself: what it keeps over a crash, what it refuses to open, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.ownership.store import Anchor, Mark
from statemachine.errors import ConfigError, Disposition

pytest.importorskip("rocksdict")

from consumers.storage import disk
from consumers.storage.disk import DiskFolder, StoreDamaged, StoreFailed

ROOT = Path(__file__).parents[3]
TABLE = "shop.orders"


def mark_at(offset: int) -> Mark:
    """A mark of a record that is not looked at."""
    return Mark(Anchor(offset, f"O-{offset}", 7), written_at=1000.0, transaction=offset, incarnation="a")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DiskFolder]:
    """The folder of this process."""
    with DiskFolder(tmp_path / "stores", TABLE, 8) as opened:
        yield opened


def test_what_was_applied_is_there_again_with_its_mark(folder: DiskFolder) -> None:
    """A worker that is stopped and started goes on from what it had; keys in other alphabets too."""
    store = folder.open(3)
    assert store.mark is None
    store.apply({"Ä-1": b"one", "B-2": b"two", "C-3": b"three"}, mark_at(7))
    store.apply({"B-2": None, "C-3": b"four"}, mark_at(9))
    assert store.get("B-2") is None
    store.close()
    again = folder.open(3)
    assert dict(again.items()) == {"Ä-1": b"one", "C-3": b"four"}
    assert sorted(again.keys()) == ["C-3", "Ä-1"]
    assert (again.get("C-3"), again.mark) == (b"four", mark_at(9))
    again.clear()
    assert (list(again.items()), again.mark, len(again)) == ([], None, 0)
    again.close()
    again.close()


def test_more_snapshots_than_are_read_at_once_come_each_once(folder: DiskFolder) -> None:
    """Also while the store changes, and a store that was closed meanwhile has no more keys."""
    store = folder.open(0)
    made = {f"O-{number}": b"%d" % number for number in range(1201)}
    store.apply(made, mark_at(1))
    assert dict(store.items()) == made
    keys = iter(store.keys())
    first = next(keys)
    store.apply({"O-0": None}, mark_at(2))
    store.close()
    assert len([first, *keys]) == disk._READ_AT_ONCE


_WRITES_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from consumers.ownership.store import Anchor, Mark
from consumers.storage import disk
disk._UNWRITTEN_BYTES_EACH = 256 * 1024
folder = disk.DiskFolder(Path(sys.argv[1]), "shop.orders", 8)
store = folder.open(0)
for turn in range(1, 200):
    changes = {f"O-{number}": b"%08d" % turn + os.urandom(300) for number in range(20)}
    store.apply(changes, Mark(Anchor(turn, "x", 0), 1.0, turn, "a"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_data_and_mark_are_of_the_same_moment(folder: DiskFolder) -> None:
    """Without a write-ahead log the last writes are lost, all of one write together: the mark never says more than is there."""
    elsewhere = folder.path / "killed"
    killed = subprocess.run([sys.executable, "-c", _WRITES_UNTIL_KILLED, str(elsewhere)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    with DiskFolder(elsewhere, TABLE, 8) as again:
        store = again.open(0)
        assert store.mark is not None
        assert 1 <= store.mark.transaction < 199, "all of it was written out: nothing was lost that could be missed"
        assert {int(snapshot[:8]) for _, snapshot in store.items()} == {store.mark.transaction}
        store.close()


@pytest.mark.parametrize(("table", "partitions"), [(TABLE, 16), ("other.orders", 8)])
def test_a_database_of_another_topic_begins_anew(folder: DiskFolder, table: str, partitions: int) -> None:
    """Also when its folder was renamed: what it is for stands inside."""
    store = folder.open(0)
    store.apply({"A-1": b"one"}, mark_at(1))
    store.close()
    (folder.path / f"{TABLE}-0").rename(folder.path / "kept")
    with DiskFolder(folder.path / "next", table, partitions) as other:
        (folder.path / "kept").rename(other.path / f"{table}-0")
        store = other.open(0)
        assert (store.mark, list(store.items())) == (None, [])
        store.close()


def test_a_database_of_another_layout_or_without_a_mark_begins_anew(
    folder: DiskFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not say how far it goes proves nothing."""
    store = folder.open(0)
    store.apply({"A-1": b"one"})
    store.close()
    store = folder.open(0)
    assert list(store.items()) == []
    store.apply({"A-1": b"one"}, mark_at(1))
    store.close()
    monkeypatch.setattr(disk, "_FORMAT", 2)
    store = folder.open(0)
    assert (store.mark, list(store.items())) == (None, [])
    store.close()


def test_a_database_whose_files_are_damaged_begins_anew(folder: DiskFolder) -> None:
    """Kafka has it all."""
    store = folder.open(0)
    store.apply({"A-1": b"one"}, mark_at(1))
    store.close()
    for manifest in (folder.path / f"{TABLE}-0").glob("MANIFEST*"):
        manifest.write_bytes(b"junk")
    store = folder.open(0)
    assert (store.mark, list(store.items())) == (None, [])
    store.close()


def test_a_damaged_block_is_found_on_reading_and_the_next_store_begins_anew(folder: DiskFolder) -> None:
    """The partition is taken over again, and reads everything from Kafka."""
    store = folder.open(0)
    store.apply({f"O-{number}": os.urandom(200) for number in range(2000)}, mark_at(1))
    store.close()
    [table] = (folder.path / f"{TABLE}-0").glob("*.sst")
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 255
    table.write_bytes(content)
    store = folder.open(0)
    with pytest.raises(StoreDamaged) as caught:
        list(store.items())
    assert caught.value.disposition is Disposition.REFENCE
    store.close()
    store = folder.open(0)
    assert (store.mark, list(store.items())) == (None, [])
    store.close()


_FILLS_THE_DISK = """
import json, os, resource, signal, sys
from pathlib import Path
from consumers.ownership.store import Anchor, Mark
from consumers.storage import disk
disk._UNWRITTEN_BYTES_EACH = 256 * 1024
store = disk.DiskFolder(Path(sys.argv[1]), "shop.orders", 8).open(0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))
try:
    for turn in range(1, 5000):
        store.apply({f"O-{turn}": os.urandom(4000)}, Mark(Anchor(turn, "x", 0), 1.0, turn, "a"))
except disk.StoreFailed as error:
    sys.stdout.write(json.dumps({"said": str(error), "disposition": error.disposition}))
"""


def test_a_disk_that_takes_no_more_stops_the_partition_in_one_line(tmp_path: Path) -> None:
    """Not the worker; and the line says which folder and what to do."""
    ended = subprocess.run(
        [sys.executable, "-c", _FILLS_THE_DISK, str(tmp_path)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    found = json.loads(ended.stdout)
    assert found["disposition"] == Disposition.STOP_PARTITION
    assert found["said"].startswith(f"partition 0 stopped: {tmp_path / 'shop.orders-0'} cannot be used: IO error: ")
    assert "\n" not in found["said"]


def test_a_partition_whose_folder_cannot_be_made_stops_alone(folder: DiskFolder) -> None:
    """A file is in its place."""
    (folder.path / f"{TABLE}-0").write_text("in the way")
    with pytest.raises(StoreFailed, match=r"partition 0 stopped: .*shop\.orders-0 cannot be used: "):
        folder.open(0)
    folder.open(1).close()


def test_a_folder_is_used_by_one_process(folder: DiskFolder) -> None:
    """Two workers with one folder would write over each other's orders; when the first is gone the second may."""
    with pytest.raises(ConfigError, match="another process uses this folder; each worker needs one of its own"):
        DiskFolder(folder.path, TABLE, 8)
    with DiskFolder(folder.path / "b", TABLE, 8):
        pass
    with DiskFolder(folder.path / "b", TABLE, 8):
        pass


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    """In a line that names the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^ORDERFLOW_STORE=rocksdb:\S+/file/stores: Not a directory$"):
        DiskFolder(tmp_path / "file/stores", TABLE, 8)


def test_without_the_library_the_line_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is an extra: who keeps orders in memory does not need it."""
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    with pytest.raises(ConfigError, match=r"needs rocksdict, which is not installed: install orderflow\[rocksdb\]$"):
        DiskFolder(tmp_path, TABLE, 8)
    assert list(tmp_path.iterdir()) == []
