"""``orderflow events send``: write events into the input topics."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import click
import msgspec

from orderflow.cli.outcome import CommandError, run, settings_or_usage
from orderflow.cli.output import print_json, quiet_libraries, talk
from orderflow.event_lines import WRITABLE, EventLine, fault_of
from orderflow.screen import counted

if TYPE_CHECKING:
    from orderflow.sandbox.checking import LineChecker
    from orderflow.settings import Settings
    from producers.publisher import Publisher

#: Records that are written but not acknowledged yet, at most.
_UNDERWAY_MAX = 256
#: Read from a pipe at once, at most.
_READ_BYTES = 65536
#: Of a pipe that is checked first, so much is kept in memory; more in a temporary file.
_SPOOL_BYTES = 16 * 1024 * 1024

_decoder = msgspec.json.Decoder(EventLine)


@click.command(epilog="Example: zcat orders.jsonl.gz | orderflow events send - --rate 500")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--rate", type=click.FloatRange(0), default=0, help="Records per second; 0: as fast as Kafka accepts them."
)
@click.option("--no-check", is_flag=True, help="Send lines as they are, and as they come, without a check before.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON document.")
def send(file: IO[bytes], rate: float, no_check: bool, as_json: bool) -> None:
    """Write the records of FILE (- for stdin) into Kafka.

    One JSON object a line: {"topic", "key", "headers"?, "value"}; the value is an object or a string. Topics have the names
    of the contract; the prefix of the settings is added. Records go to the partition that the Java client would choose
    (murmur2); records of one key keep the order of the file.

    First all lines are checked, as `orderflow events check` does: when workers would refuse one, nothing is sent and the exit
    code is 1. With --no-check records that workers refuse are sent, too; only lines that are no records are reported by number
    and skipped, then the exit code is 1.
    """
    quiet_libraries()
    settings = settings_or_usage()
    began = time.monotonic()
    sender = Sender(settings.topic_prefix, rate)
    try:
        run(_send(sender, settings, file, checked=not no_check))
    except KeyboardInterrupt:
        talk().print(f"interrupted: {sender.sent} sent, {len(sender.refused)} refused")
        raise
    seconds = time.monotonic() - began
    if as_json:
        print_json({"sent": sender.sent, "refused": sender.refused, "seconds": round(seconds, 3)})
    else:
        talk().print(f"{sender.sent} sent, {len(sender.refused)} refused, {seconds:.1f} s")
    if sender.refused and not sender.sent and not no_check:
        raise CommandError(
            f"nothing was sent: {counted(len(sender.refused), 'line')} refused; --no-check sends the records as they are"
        )
    if sender.refused:
        raise CommandError(f"{counted(len(sender.refused), 'line')} refused")


async def _send(sender: Sender, settings: Settings, file: IO[bytes], *, checked: bool) -> None:
    from orderflow.sandbox.checking import LineChecker
    from producers.publisher import Publisher
    from producers.topic_setup import read_topics

    connection = settings.connection()
    topics = await read_topics(connection, sender.prefix)
    sender.present = frozenset(topics)
    if checked:
        checker = LineChecker(
            tokens=settings.signing_tokens,
            compression=connection.compression_type,
            limits={topic: state.record_bytes_max for topic, state in topics.items()},
        )
        file = await sender.check_all(checker, file)
        if sender.refused:
            return
    with _progress(file) as advance:
        async with Publisher(connection) as publisher:
            await sender.send_all(publisher, file, advance)


class Sender:
    """Writes lines: concurrently for different keys, in file order for one key."""

    def __init__(self, prefix: str, rate: float) -> None:
        self.prefix = prefix
        #: The contract's topics that exist: a write to another one would only time out.
        self.present: frozenset[str] = frozenset()
        self._rate = rate
        self._last: dict[bytes | None, asyncio.Task[None]] = {}
        self._begun = 0
        self.sent = 0
        #: Why lines were left out, by line number (from 1).
        self.refused: dict[int, str] = {}

    async def check_all(self, checker: LineChecker, file: IO[bytes]) -> IO[bytes]:
        """Check all lines, and fill ``refused``; returns the lines, to be read from their beginning.

        What cannot be read twice, such as a pipe, is kept meanwhile.
        """
        if file.seekable():
            kept, begin = file, file.tell()
        else:
            spool = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  # read by the caller; gone with the process
            kept, begin = cast("IO[bytes]", spool), 0
        number = 0
        async for text in _lines(file):
            number += 1
            if kept is not file:
                kept.write(text)
            if self._parse(number, text) is not None and (problem := checker.check(number, text)) is not None:
                self._refuse(number, problem.text)
        kept.seek(begin)
        return kept

    async def send_all(self, publisher: Publisher, file: IO[bytes], advance: Any) -> None:
        """Write all lines; returns when Kafka has them.

        Raises:
            BrokerUnavailable: Kafka did not acknowledge a record; later lines were not written.
        """
        places = asyncio.Semaphore(_UNDERWAY_MAX)
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        try:
            async with asyncio.TaskGroup() as group:
                async for text in _lines(file):
                    number += 1
                    advance(len(text))
                    line = self._parse(number, text)
                    if line is None:
                        continue
                    await places.acquire()
                    if self._rate and (wait := began + self._begun / self._rate - loop.time()) > 0:
                        await asyncio.sleep(wait)
                    key = line.encoded_key()
                    task = group.create_task(self._write(publisher, number, line, self._last.get(key)))
                    self._last[key] = task
                    self._begun += 1
                    task.add_done_callback(lambda _task: places.release())
        except BaseExceptionGroup as errors:
            # The first failure cancels the others; it is the one to report.
            raise errors.exceptions[0] from None

    def _parse(self, number: int, text: bytes) -> EventLine | None:
        """The line, or None when it is blank or refused."""
        if not text.strip():
            return None
        try:
            line = _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._refuse(number, fault_of(error, text))
            return None
        if line.topic not in WRITABLE:
            self._refuse(number, f"topic must be one of {', '.join(sorted(WRITABLE))}")
            return None
        if line.encoded_key() is None and line.encoded() is None:
            self._refuse(number, "a record must have a key or a value")
            return None
        if line.topic not in self.present:
            self._refuse(number, f"topic {self.prefix}{line.topic} does not exist; run `orderflow topics create`")
            return None
        return line

    def _refuse(self, number: int, reason: str) -> None:
        self.refused[number] = reason
        talk().print(f"line {number}: {reason}", markup=False)

    async def _write(
        self, publisher: Publisher, number: int, line: EventLine, before: asyncio.Task[None] | None
    ) -> None:
        from producers.topics import prefixed
        from statemachine.errors import BrokerUnavailable, RecordTooLarge

        if before is not None:
            await asyncio.wait([before])
        topic = prefixed(self.prefix, line.topic)
        try:
            await publisher.send(topic, line.encoded_key(), line.encoded(), line.encoded_headers())
        except RecordTooLarge:
            self._refuse(number, f"too large for {line.topic}")
            return
        except BrokerUnavailable as error:
            raise BrokerUnavailable(f"line {number} was not acknowledged; {self.sent} records were: {error}") from error
        self.sent += 1


async def _lines(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The lines of ``file``; earlier lines are sent while it waits, and waiting for a pipe or terminal can be interrupted."""
    try:
        await _readable(file)
    except OSError:
        # No pipe and no terminal, so reading ends: a thread does it, which nothing can interrupt.
        while text := await asyncio.to_thread(file.readline):
            yield text
        return
    begun = b""
    while read := os.read(file.fileno(), _READ_BYTES):
        *whole, begun = (begun + read).split(b"\n")
        for text in whole:
            yield text + b"\n"
        await _readable(file)
    if begun:
        yield begun


async def _readable(file: IO[bytes]) -> None:
    """Wait until a read of ``file`` would not block.

    Raises:
        OSError: It is of a kind that cannot be waited for.
    """
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(file.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(file.fileno())


@contextmanager
def _progress(file: IO[bytes]) -> Iterator[Any]:
    """A progress bar over the bytes of ``file``, on a terminal only; yields a function that takes the size of each line."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    try:
        total: int | None = os.fstat(file.fileno()).st_size or None
    except OSError:
        total = None
    columns = (TextColumn("sending"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk(), transient=True) as progress:
        task = progress.add_task("sending", total=total)
        yield lambda count: progress.advance(task, count)
