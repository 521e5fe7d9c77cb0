"""The members of a consumer group: their requests, the answers, and which protocols they support."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError
from orderflow.embedded_kafka.protocol.timers import Timer

NO_GENERATION = -1
Protocols: TypeAlias = list[tuple[str, bytes]]


class Client(NamedTuple):
    """The client of a connection."""

    client_id: str
    host: str


class JoinRequest(NamedTuple):
    """What a member asks for; timeouts in seconds, ``member_id`` empty when it has none yet."""

    member_id: str
    instance_id: str | None
    protocol_type: str
    protocols: Protocols
    session_timeout: float
    rebalance_timeout: float
    client: Client


class Joined(NamedTuple):
    """The answer to a join; ``members`` is filled for the leader only."""

    code: Code
    member_id: str
    generation: int = NO_GENERATION
    protocol: str = ""
    leader: str = ""
    members: tuple[tuple[str, str | None, bytes], ...] = ()


class Synced(NamedTuple):
    """The answer to a sync."""

    code: Code
    assignment: bytes = b""


@dataclass(slots=True, eq=False)
class Member:
    """A member of the group and the answers that it waits for."""

    member_id: str
    instance_id: str | None
    client: Client
    rebalance_timeout: float
    protocols: Protocols
    session: Timer
    assignment: bytes = b""
    joining: asyncio.Future[Joined] | None = None
    syncing: asyncio.Future[Synced] | None = None

    def metadata(self, protocol: str) -> bytes:
        """The member's metadata for this protocol (for consumers, the subscription)."""
        return next((metadata for name, metadata in self.protocols if name == protocol), b"")

    def answer_join(self, joined: Joined) -> None:
        """End the member's join, if one waits."""
        joining, self.joining = self.joining, None
        if joining is not None and not joining.done():
            joining.set_result(joined)

    def answer_sync(self, synced: Synced) -> None:
        """End the member's sync, if one waits."""
        syncing, self.syncing = self.syncing, None
        if syncing is not None and not syncing.done():
            syncing.set_result(synced)


class Members:
    """The members of one group, in the order in which they joined, and which of them holds each static instance id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Member] = {}
        self._instances: dict[str, str] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, member: Member) -> None:
        """Add a member; a static one holds its instance id from now on."""
        self._by_id[member.member_id] = member
        if member.instance_id is not None:
            self._instances[member.instance_id] = member.member_id

    def remove(self, member: Member, code: Code) -> None:
        """Remove a member, if it is there, and answer what it waits for with ``code``."""
        member.session.cancel()
        self._by_id.pop(member.member_id, None)
        if member.instance_id is not None and self._instances.get(member.instance_id) == member.member_id:
            del self._instances[member.instance_id]
        member.answer_join(Joined(code, member.member_id))
        member.answer_sync(Synced(code))

    def static_member(self, instance_id: str | None) -> Member | None:
        """The member that holds a static instance id."""
        holder = None if instance_id is None else self._instances.get(instance_id)
        return None if holder is None else self._by_id[holder]

    def known(self, member_id: str, instance_id: str | None = None) -> Member:
        """The member.

        Raises:
            KafkaApiError: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID when another process took the static member's place.
        """
        if instance_id is not None:
            holder = self._instances.get(instance_id)
            if holder is not None and holder != member_id:
                raise KafkaApiError(Code.FENCED_INSTANCE_ID)
        member = self._by_id.get(member_id)
        if member is None:
            raise KafkaApiError(Code.UNKNOWN_MEMBER_ID)
        return member

    def share_protocol(self, request: JoinRequest) -> bool:
        """Whether all other members support one of the request's protocols."""
        names = {name for name, _ in request.protocols}
        others = [member for member in self if member.member_id != request.member_id]
        return not others or any(all(name in dict(other.protocols) for other in others) for name in names)

    def select_protocol(self) -> str:
        """The protocol that most members prefer among those that all support."""
        spoken = [dict(member.protocols) for member in self]
        votes = Counter(
            next(name for name, _ in member.protocols if all(name in each for each in spoken)) for member in self
        )
        return votes.most_common(1)[0][0]
