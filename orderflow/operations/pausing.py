"""Pausing and resuming: what is paused now, and the records that change it.

Rules of the file: each act is written as ``act/<id>`` before it takes effect, so that nothing is paused or resumed without a
trace. Acts are kept for ``ACT_DAYS``; each new one removes older ones.
"""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args

import msgspec

from consumers.group.table_reader import read_table
from consumers.pauses.records import (
    ACT_KEY,
    ACTOR_HEADER,
    PAUSE_KEY,
    REASON_HEADER,
    ActRecord,
    Pause,
    PauseRecord,
    read_act,
    read_pause,
    scope_of,
)
from consumers.pauses.scopes import Scope, read_scope
from orderflow.settings import Settings, operator_of
from producers.publisher import Publisher
from producers.topics import Lane, Topic, prefixed
from statemachine.messages.commands import CommandName

#: How long acts are kept.
ACT_DAYS: Final = 400
#: One act removes at most so many that are older.
_REMOVED_MAX: Final = 100
_encode = msgspec.json.Encoder().encode


class Operations(msgspec.Struct, frozen=True):
    """What ``orderflow.operations`` says about pauses."""

    pauses: Mapping[Scope, Pause]
    #: By key, the oldest first.
    acts: Mapping[str, ActRecord]


async def read_operations(settings: Settings) -> Operations:
    """The pauses in force, and the acts that are kept.

    Raises:
        ConfigError: The topic does not exist.
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    table = await read_table(settings.connection(), settings.topic_prefix, Topic.OPERATIONS)
    pauses = {
        scope: read_pause(scope, value) for key, value in table.items() if (scope := scope_of(key.encode())) is not None
    }
    acts = {
        key: act for key, value in table.items() if key.startswith(ACT_KEY) and (act := read_act(value)) is not None
    }
    return Operations(pauses, dict(sorted(acts.items(), key=lambda item: item[1].at)))


async def write_act(
    settings: Settings, act: Literal["pause", "resume"], scope: Scope, reason: str, known: Operations
) -> None:
    """Pause or resume; returns when Kafka has it.

    Raises:
        BrokerUnavailable: Not acknowledged: it may have taken effect or not.
    """
    topic, actor, now = prefixed(settings.topic_prefix, Topic.OPERATIONS), operator_of(settings), datetime.now(UTC)
    done = ActRecord(act, str(scope), actor, reason, now)
    old = [key for key, one in known.acts.items() if one.at < now - timedelta(days=ACT_DAYS)]
    key = f"{PAUSE_KEY}{scope}".encode()
    async with Publisher(settings.connection()) as publisher:
        await publisher.send(topic, f"{ACT_KEY}{uuid.uuid4()}".encode(), _encode(done))
        if act == "pause":
            await publisher.send(topic, key, _encode(PauseRecord(str(scope), actor, reason, now)))
        else:
            headers = [(ACTOR_HEADER, actor.encode()), (REASON_HEADER, reason.encode())]
            await publisher.send(topic, key, None, headers)
        for one in old[:_REMOVED_MAX]:
            await publisher.send(topic, one.encode(), None)


def known_scope(text: str) -> Scope | None:
    """The scope that ``text`` names, if this version knows it; None else."""
    scope = read_scope(text)
    return None if scope is None or scope.command not in (None, *get_args(CommandName)) else scope


def nearest_scope(text: str) -> str | None:
    """A scope that ``text`` may have meant."""
    known = [f"lane/{lane}" for lane in Lane] + [f"command/{name}" for name in get_args(CommandName)]
    parts = text.split("/")
    if len(parts) == 3 and parts[2].isdecimal():
        known += [f"partition/{lane}/{int(parts[2])}" for lane in Lane]
    near = difflib.get_close_matches(text, known, 1, 0.5)
    if not near:  # a bare name, such as create_refund or orders
        near = [one for one in known if text and one.endswith(f"/{text}")]
    return near[0] if near else None
