"""``orderflow partitions accept``: where a partition that stopped for a person goes on, in lines for that person."""

from __future__ import annotations

import time

from consumers.commands import offset_repair as command_repair
from consumers.commands.offset_repair import CommandOffsetUse
from consumers.orders.offset_repair import Use, repair_order_offsets
from orderflow.settings import Settings
from producers.topic_setup import check_topics
from producers.topics import Topic


async def accept_partition(settings: Settings, number: int, *, use: Use, reason: str, apply: bool) -> list[str]:
    """``orderflow partitions accept``: the lines that tell what was, and what is or would be; see its ``offset_repair``."""
    topics = await check_topics(settings.connection(), settings.topic_prefix)
    found = await repair_order_offsets(
        settings.connection(),
        settings.topic_prefix,
        number,
        partitions=topics[Topic.ORDERS].partitions,
        use=use,
        reason=reason,
        apply=apply,
        timestamp_ms=int(time.time() * 1000),
    )
    lines = [f"partition {number} of the order lane"]
    for name, offset in sorted(found.accepted.items()):
        committed, position = found.committed[name], (found.position or {}).get(name)
        begin, end = found.available[name]
        lines.append(f"  {name}: committed {committed}, position record {position}, Kafka has {begin} to {end}")
        lines.append(
            f"    {'goes on' if found.applied else 'would go on'} at {offset}{_consequence(offset, committed, position)}"
        )
    if found.applied:
        lines.append("done; a worker that reported the partition as stopped must be restarted")
    elif found.agrees:
        lines.append("both agree already")
    return lines


async def accept_commands(
    settings: Settings, number: int, *, use: CommandOffsetUse, reason: str, apply: bool
) -> list[str]:
    """``orderflow partitions accept --lane commands``: the lines that tell what was, and what is or would be."""
    topics = await check_topics(settings.connection(), settings.topic_prefix)
    found = await command_repair.repair_command_offset(
        settings.connection(),
        settings.topic_prefix,
        number,
        partitions=topics[Topic.DR_COMMANDS].partitions,
        use=use,
        reason=reason,
        apply=apply,
        timestamp_ms=int(time.time() * 1000),
    )
    begin, end = found.available
    what = (
        "what is there is not carried out; orders that wait for it ask again by themselves"
        if use == "end"
        else f"up to {end - begin} commands are looked up, and called where their effect is not to be found"
    )
    lines = [
        f"partition {number} of the command lane",
        f"  {found.topic}: committed {found.committed}, Kafka has {begin} to {end}",
        f"    {'goes on' if found.applied else 'would go on'} at {found.accepted}: {what}",
    ]
    if found.applied:
        lines.append("done; a worker that reported the partition as stopped must be restarted")
    return lines


def _consequence(offset: int, committed: int | None, position: int | None) -> str:
    """What the acceptance means beside the offset that a committed transaction left behind."""
    last = max((known for known in (committed, position) if known is not None), default=offset)
    if offset < last:
        return f": {last - offset} offsets are read again"
    first = min((known for known in (committed, position) if known is not None), default=offset)
    return f": {offset - first} offsets are not read" if offset > first else ""
