"""What breaks between two versions of the contract, and whom: senders of what orderflow reads, readers of what it writes.

A sender is broken when a record that was taken is refused now, or a member of it is not read any more. A reader is broken when
a record may come that the earlier version ruled out, or a member does not come any more. All else is harmless: what is taken
besides, what comes besides, and words. Where it cannot be told whether a change is harmless (another pattern), it breaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from orderflow.contracts.narrowing import Fault, Narrowing, resolved
from orderflow.contracts.schema import Schema

_NOBODY: Final[Schema] = {}


class Break(msgspec.Struct, frozen=True):
    """One breaking change: ``place`` is the member, empty for the message as a whole."""

    breaks: Literal["senders", "readers"]
    topic: str
    message: str
    place: str
    what: str

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return f"breaks {self.breaks} of {self.topic}: {self.message}: {place}{self.what}"


class _Message(msgspec.Struct, frozen=True):
    topic: str
    action: str
    value: Schema
    headers: Schema
    key: Schema
    cleanup: tuple[str, ...]


def _messages(document: dict[str, Any]) -> dict[tuple[str, str], _Message]:
    """The messages of an AsyncAPI document of ours, by their name and what orderflow does with them."""
    found: dict[tuple[str, str], _Message] = {}
    for operation in document["operations"].values():
        channel = resolved(operation["channel"], document)
        kafka = channel["bindings"]["kafka"]
        for reference in operation["messages"]:
            message = resolved(resolved(reference, document), document)
            found[message["name"], operation["action"]] = _Message(
                channel["address"],
                operation["action"],
                message["payload"],
                message.get("headers", _NOBODY),
                message["bindings"]["kafka"]["key"],
                tuple(kafka["topicConfiguration"]["cleanup.policy"]),
            )
    return found


def breaks(earlier: dict[str, Any], now: dict[str, Any]) -> list[Break]:
    """The breaking changes from one AsyncAPI document of ours to a later one, in the order of the messages."""
    there = _messages(now)
    found: list[Break] = []
    for (name, action), old in _messages(earlier).items():
        whom: Literal["senders", "readers"] = "senders" if action == "receive" else "readers"
        new = there.get((name, action))
        if new is None:
            what = "is not taken any more" if whom == "senders" else "does not come any more"
            found.append(Break(whom, old.topic, name, "", what))
            continue
        faults = [*_of_topic(old, new), *_of_schemas(old, new, earlier, now)]
        found += [Break(whom, old.topic, name, fault.place, fault.what) for fault in dict.fromkeys(faults)]
    return found


def _of_topic(old: _Message, new: _Message) -> Iterator[Fault]:
    if new.topic != old.topic:
        yield Fault("", f"is on {new.topic} now")
    if old.action == "send" and new.cleanup != old.cleanup:
        yield Fault("", f"the topic is cleaned up otherwise: {', '.join(new.cleanup)}")
    if new.key.get("description") != old.key.get("description"):
        yield Fault("key", f"is another one now: {new.key.get('description')}")


def _of_schemas(old: _Message, new: _Message, earlier: dict[str, Any], now: dict[str, Any]) -> Iterator[Fault]:
    narrowing = Narrowing(earlier, now, inbound=old.action == "receive")
    yield from narrowing.faults(old.value, new.value, "")
    yield from narrowing.faults(old.headers, new.headers, "headers")
    yield from narrowing.faults(old.key, new.key, "key")
