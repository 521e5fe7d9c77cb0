"""``orderflow partitions accept``: where a stopped partition continues, as lines for an operator."""

from __future__ import annotations

import time
from collections.abc import Callable

from consumers.commands import offset_repair as command_repair
from consumers.commands.offset_repair import CommandOffsetUse
from consumers.orders.offset_repair import Use, repair_order_offsets
from orderflow.settings import Settings
from producers.topic_setup import check_topics
from producers.topics import Topic


async def accept_partition(
    settings: Settings, number: int, *, use: Use, reason: str, apply: bool, clock: Callable[[], float] = time.time
) -> list[str]:
    """``orderflow partitions accept``: the lines about the offsets before and after; see ``offset_repair``.

    ``clock``: Unix seconds.
    """
    topics = await check_topics(settings.connection(), settings.topic_prefix)
    found = await repair_order_offsets(
        settings.connection(),
        settings.topic_prefix,
        number,
        partitions=topics[Topic.ORDERS].partitions,
        use=use,
        reason=reason,
        apply=apply,
        timestamp_ms=int(clock() * 1000),
    )
    lines = [f"partition {number} of the order lane"]
    for name, offset in sorted(found.accepted.items()):
        committed, position = found.committed[name], (found.position or {}).get(name)
        begin, end = found.available[name]
        lines.append(f"  {name}: committed {committed}, position record {position}, Kafka has {begin} to {end}")
        lines.append(
            f"    {'continues' if found.applied else 'would continue'} at {offset}{_consequence(offset, committed, position)}"
        )
    if found.applied:
        lines.append("done; a worker that reported the partition as stopped must be restarted")
    elif found.agrees:
        lines.append("both already agree")
    return lines


async def accept_commands(
    settings: Settings,
    number: int,
    *,
    use: CommandOffsetUse,
    reason: str,
    apply: bool,
    clock: Callable[[], float] = time.time,
) -> list[str]:
    """``orderflow partitions accept --lane commands``: the lines that tell what was, and what is or would be.

    ``clock``: Unix seconds.
    """
    topics = await check_topics(settings.connection(), settings.topic_prefix)
    found = await command_repair.repair_command_offset(
        settings.connection(),
        settings.topic_prefix,
        number,
        partitions=topics[Topic.DR_COMMANDS].partitions,
        use=use,
        reason=reason,
        apply=apply,
        timestamp_ms=int(clock() * 1000),
    )
    begin, end = found.available
    what = (
        "existing commands are not executed; orders that wait for one send it again"
        if use == "end"
        else f"up to {end - begin} commands are looked up, and called if their effect is not found"
    )
    lines = [
        f"partition {number} of the command lane",
        f"  {found.topic}: committed {found.committed}, Kafka has {begin} to {end}",
        f"    {'continues' if found.applied else 'would continue'} at {found.accepted}: {what}",
    ]
    if found.applied:
        lines.append("done; a worker that reported the partition as stopped must be restarted")
    return lines


def _consequence(offset: int, committed: int | None, position: int | None) -> str:
    """How many offsets are read again or skipped, compared with the last committed transaction."""
    last = max((known for known in (committed, position) if known is not None), default=offset)
    if offset < last:
        return f": {last - offset} offsets are read again"
    first = min((known for known in (committed, position) if known is not None), default=offset)
    return f": {offset - first} offsets are not read" if offset > first else ""
