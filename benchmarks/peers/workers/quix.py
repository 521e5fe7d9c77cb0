"""Quix Streams, exactly once, its own RocksDB store and changelog, commits each 100 ms."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from quixstreams import Application, State

from benchmarks.peers.machine import advance


def main() -> None:
    """Run until the process is ended."""
    bootstrap, prefix, _, folder = sys.argv[1:]
    app = Application(
        bootstrap,
        consumer_group=f"{prefix}quix",
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        commit_interval=0.1,
        consumer_poll_timeout=0.05,
        state_dir=folder,
        producer_extra_config={"compression.type": "lz4", "partitioner": "murmur2"},
        loglevel="WARNING",
    )
    entry, changes, commands = (
        app.topic(
            f"{prefix}{name}",
            key_deserializer="bytes",
            key_serializer="bytes",
            value_deserializer="bytes",
            value_serializer="bytes",
        )
        for name in ("orders.in", "changes", "commands")
    )

    def step(value: bytes, state: State) -> Iterable[tuple[bool, bytes]]:
        made = advance(state.get_bytes("order"), value)
        if made is None:
            return []
        state.set_bytes("order", made.order)
        change = (False, made.change)
        return [change] if made.command is None else [change, (True, made.command)]

    written = app.dataframe(entry).apply(step, stateful=True, expand=True)
    kinds = {False: changes, True: commands}
    written = written.apply(lambda value, *_: value, metadata=True)
    for command, topic in kinds.items():
        written[written.apply(lambda value, kind=command: value[0] is kind)].apply(lambda value: value[1]).to_topic(
            topic
        )
    app.run()


if __name__ == "__main__":
    main()
