"""One consumer group of the classic, eager protocol: membership, rebalances, sessions, static members.

The states and answers are those of Kafka's group coordinator. A join or sync that must wait for others is a future;
everything else is answered at once. Time comes in through timers only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from orderflow.embedded_kafka.codes import Code, Refused
from orderflow.embedded_kafka.timers import Timer, Timers

NO_GENERATION = -1
Protocols: TypeAlias = list[tuple[str, bytes]]


class GroupState(StrEnum):
    """Names as DescribeGroups gives them."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


class Client(NamedTuple):
    """Who is at the other end of a connection."""

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
    """A member of the group and what it waits for."""

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
        """What the member said for this protocol (its subscription, for consumers)."""
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


class Group:
    """One group. ``new_id`` makes the unique part of member ids."""

    def __init__(self, group_id: str, timers: Timers, new_id: Callable[[], str]) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.generation = 0
        self.protocol_type = ""
        self.protocol = ""
        self.leader = ""
        self.members: dict[str, Member] = {}
        self._instances: dict[str, str] = {}
        #: Ids given out with MEMBER_ID_REQUIRED whose owners have not come back yet: the rebalance waits for them.
        self._promised: dict[str, Timer] = {}
        self._timers = timers
        self._new_id = new_id
        self._rebalance: Timer | None = None

    # ---- join ------------------------------------------------------------------------------------------------------

    def join(self, request: JoinRequest) -> Joined | asyncio.Future[Joined]:
        """Admit a member to the next generation; the future is done when that generation begins.

        Raises:
            Refused: the member is unknown or fenced, or speaks no protocol that all others speak.
        """
        self._check_protocols(request)
        if request.instance_id is not None and not request.member_id:
            old_id = self._instances.get(request.instance_id)
            if old_id is not None:
                return self._replace_static(old_id, request)
        if not request.member_id:
            member_id = f"{request.instance_id or request.client.client_id}-{self._new_id()}"
            if request.instance_id is None:
                # A member that lost this answer must not leave a ghost behind, so it has to come back with its id.
                self._promised[member_id] = self._timers.after(
                    request.session_timeout, lambda: self._forget_promise(member_id)
                )
                return Joined(Code.MEMBER_ID_REQUIRED, member_id)
            return self._add(member_id, request)
        if request.member_id in self._promised:
            self._promised.pop(request.member_id).cancel()
            return self._add(request.member_id, request)
        member = self.known(request.member_id, request.instance_id)
        return self._rejoin(member, request)

    def _check_protocols(self, request: JoinRequest) -> None:
        names = {name for name, _ in request.protocols}
        others = [member for member in self.members.values() if member.member_id != request.member_id]
        agrees = not others or (
            request.protocol_type == self.protocol_type
            and any(all(name in dict(other.protocols) for other in others) for name in names)
        )
        if not names or not request.protocol_type or not agrees:
            raise Refused(Code.INCONSISTENT_GROUP_PROTOCOL)

    def _new_member(self, member_id: str, request: JoinRequest) -> Member:
        session = self._timers.after(request.session_timeout, lambda: self._expire(member))
        member = Member(
            member_id, request.instance_id, request.client, request.rebalance_timeout, request.protocols, session
        )
        return member

    def _add(self, member_id: str, request: JoinRequest) -> asyncio.Future[Joined]:
        member = self._new_member(member_id, request)
        if not self.members:
            self.protocol_type = request.protocol_type
        self.members[member_id] = member
        if member.instance_id is not None:
            self._instances[member.instance_id] = member_id
        return self._wait_for_generation(member)

    def _rejoin(self, member: Member, request: JoinRequest) -> Joined | asyncio.Future[Joined]:
        changed = member.protocols != request.protocols
        settled = self.state is GroupState.COMPLETING or (
            self.state is GroupState.STABLE and member.member_id != self.leader
        )
        member.session.restart()
        if settled and not changed:
            return self._joined(member)
        member.protocols = request.protocols
        member.rebalance_timeout = request.rebalance_timeout
        return self._wait_for_generation(member)

    def _replace_static(self, old_id: str, request: JoinRequest) -> Joined | asyncio.Future[Joined]:
        """A static member came back without its id: it takes the place of its former self, which is fenced."""
        old = self.members.pop(old_id)
        old.session.cancel()
        old.answer_join(Joined(Code.FENCED_INSTANCE_ID, old_id))
        old.answer_sync(Synced(Code.FENCED_INSTANCE_ID))
        member = self._new_member(f"{request.instance_id}-{self._new_id()}", request)
        member.assignment = old.assignment
        self.members[member.member_id] = member
        self._instances[request.instance_id or ""] = member.member_id
        former_leader = self.leader
        if old_id == self.leader:
            self.leader = member.member_id
        if self.state is GroupState.STABLE and self._select_protocol() == self.protocol:
            # The former leader's id is given, so that a leader that came back does not compute an assignment
            # that nobody would receive (as Kafka does for clients before join version 9).
            return Joined(Code.NONE, member.member_id, self.generation, self.protocol, former_leader)
        return self._wait_for_generation(member)

    def _wait_for_generation(self, member: Member) -> asyncio.Future[Joined]:
        waiting: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        member.answer_join(Joined(Code.UNKNOWN_MEMBER_ID, member.member_id))
        member.joining = waiting
        if self.state is GroupState.PREPARING:
            self._complete_when_all_joined()
        else:
            self._prepare()
        return waiting

    def _joined(self, member: Member) -> Joined:
        members: tuple[tuple[str, str | None, bytes], ...] = ()
        if member.member_id == self.leader:
            members = tuple(
                (each.member_id, each.instance_id, each.metadata(self.protocol)) for each in self.members.values()
            )
        return Joined(Code.NONE, member.member_id, self.generation, self.protocol, self.leader, members)

    # ---- rebalance -------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if self.state is GroupState.COMPLETING:
            for member in self.members.values():
                member.assignment = b""
                member.answer_sync(Synced(Code.REBALANCE_IN_PROGRESS))
        self.state = GroupState.PREPARING
        self._cancel_rebalance()
        timeout = max((member.rebalance_timeout for member in self.members.values()), default=0.0)
        self._rebalance = self._timers.after(timeout, self._complete)
        self._complete_when_all_joined()

    def _cancel_rebalance(self) -> None:
        if self._rebalance is not None:
            self._rebalance.cancel()
            self._rebalance = None

    def _complete_when_all_joined(self) -> None:
        if not self._promised and all(member.joining is not None for member in self.members.values()):
            self._complete()

    def _complete(self) -> None:
        """Begin the next generation with those who joined, and static members that are away, as Kafka keeps them."""
        self._cancel_rebalance()
        for member in [each for each in self.members.values() if each.joining is None and each.instance_id is None]:
            self._drop(member)
        joined = [member for member in self.members.values() if member.joining is not None]
        if self.members and not joined:
            self._rebalance = self._timers.after(
                max(member.rebalance_timeout for member in self.members.values()), self._complete
            )
            return
        self.generation += 1
        if not joined:
            self.state = GroupState.EMPTY
            self.protocol = self.leader = ""
            return
        self.state = GroupState.COMPLETING
        self.protocol = self._select_protocol()
        if self.leader not in {member.member_id for member in joined}:
            self.leader = joined[0].member_id
        for member in self.members.values():
            member.session.restart()
            member.answer_join(self._joined(member))

    def _select_protocol(self) -> str:
        """The protocol with most first votes among those that every member speaks."""
        spoken = [dict(member.protocols) for member in self.members.values()]
        votes = Counter(
            next(name for name, _ in member.protocols if all(name in each for each in spoken))
            for member in self.members.values()
        )
        return votes.most_common(1)[0][0]

    # ---- sync, heartbeat, leave ------------------------------------------------------------------------------------

    def sync(
        self, member_id: str, instance_id: str | None, generation: int, assignments: list[tuple[str, bytes]]
    ) -> Synced | asyncio.Future[Synced]:
        """The member's assignment; until the leader gave them, a future.

        Raises:
            Refused: unknown, fenced, of another generation, or the group rebalances.
        """
        member = self.member_of(member_id, generation, instance_id)
        if self.state is GroupState.PREPARING:
            raise Refused(Code.REBALANCE_IN_PROGRESS)
        member.session.restart()
        if self.state is GroupState.STABLE:
            return Synced(Code.NONE, member.assignment)
        waiting: asyncio.Future[Synced] = asyncio.get_running_loop().create_future()
        member.answer_sync(Synced(Code.REBALANCE_IN_PROGRESS))
        member.syncing = waiting
        if member_id == self.leader:
            given = dict(assignments)
            self.state = GroupState.STABLE
            for each in self.members.values():
                each.assignment = given.get(each.member_id, b"")
                if each.syncing is not None:
                    each.session.restart()
                each.answer_sync(Synced(Code.NONE, each.assignment))
        return waiting

    def heartbeat(self, member_id: str, generation: int) -> None:
        """Keep the member's session.

        Raises:
            Refused: unknown, of another generation, or REBALANCE_IN_PROGRESS, which keeps the session too.
        """
        member = self.member_of(member_id, generation)
        member.session.restart()
        if self.state is GroupState.PREPARING:
            raise Refused(Code.REBALANCE_IN_PROGRESS)

    def leave(self, member_id: str) -> None:
        """Remove the member at once.

        Raises:
            Refused: unknown member.
        """
        if member_id in self._promised:
            self._promised.pop(member_id).cancel()
        else:
            self._drop(self.known(member_id))
        self._after_departure()

    def known(self, member_id: str, instance_id: str | None = None) -> Member:
        """The member.

        Raises:
            Refused: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID when another process took the static member's place.
        """
        if instance_id is not None:
            holder = self._instances.get(instance_id)
            if holder is not None and holder != member_id:
                raise Refused(Code.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise Refused(Code.UNKNOWN_MEMBER_ID)
        return member

    def member_of(self, member_id: str, generation: int, instance_id: str | None = None) -> Member:
        """The member, if it is of this generation.

        Raises:
            Refused: as ``known``, or ILLEGAL_GENERATION.
        """
        member = self.known(member_id, instance_id)
        if generation != self.generation:
            raise Refused(Code.ILLEGAL_GENERATION)
        return member

    def _forget_promise(self, member_id: str) -> None:
        if self._promised.pop(member_id, None) is not None:
            self._after_departure()

    def _expire(self, member: Member) -> None:
        if member.joining is not None or member.syncing is not None:
            # It waits for an answer of ours: it is alive as far as anyone can tell.
            member.session.restart()
            return
        self._drop(member)
        self._after_departure()

    def _drop(self, member: Member) -> None:
        member.session.cancel()
        self.members.pop(member.member_id, None)
        if member.instance_id is not None and self._instances.get(member.instance_id) == member.member_id:
            del self._instances[member.instance_id]
        member.answer_join(Joined(Code.UNKNOWN_MEMBER_ID, member.member_id))
        member.answer_sync(Synced(Code.UNKNOWN_MEMBER_ID))

    def _after_departure(self) -> None:
        if self.state is GroupState.PREPARING:
            self._complete_when_all_joined()
        elif self.state is not GroupState.EMPTY:
            self._prepare()

    def restart_sessions(self) -> None:
        """Count every session anew, as a coordinator does that loads its groups after a restart."""
        for member in self.members.values():
            member.session.restart()
