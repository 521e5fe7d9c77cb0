"""One consumer group of the classic, eager protocol: membership, rebalances, sessions, static members.

The states and answers are those of Kafka's group coordinator. A join or sync that must wait for others is a future;
everything else is answered at once. Time comes in through timers only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

from orderflow.embedded_kafka.groups.members import Joined, JoinRequest, Member, Members, Synced
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError
from orderflow.embedded_kafka.protocol.timers import Timer, Timers


class GroupState(StrEnum):
    """Names as DescribeGroups gives them."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


class Group:
    """One group. ``new_id`` makes the unique part of member ids."""

    def __init__(self, group_id: str, timers: Timers, new_id: Callable[[], str]) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.generation = 0
        self.protocol_type = ""
        self.protocol = ""
        self.leader = ""
        self.members = Members()
        #: Ids given out with MEMBER_ID_REQUIRED whose owners have not come back yet: the rebalance waits for them.
        self._promised: dict[str, Timer] = {}
        self._timers = timers
        self._new_id = new_id
        self._rebalance: Timer | None = None

    # ---- join ------------------------------------------------------------------------------------------------------

    def join(self, request: JoinRequest) -> Joined | asyncio.Future[Joined]:
        """Admit a member to the next generation; the future is done when that generation begins.

        Raises:
            KafkaApiError: the member is unknown or fenced, or supports no protocol that all others support.
        """
        self._check_protocols(request)
        if request.instance_id is not None and not request.member_id:
            former = self.members.static_member(request.instance_id)
            if former is not None:
                return self._replace_static(former, request)
        if not request.member_id:
            member_id = f"{request.instance_id or request.client.client_id}-{self._new_id()}"
            if request.instance_id is None:
                # A member that loses this answer must not remain in the group, so it has to join again with its id.
                self._promised[member_id] = self._timers.after(
                    request.session_timeout, lambda: self._forget_promise(member_id)
                )
                return Joined(Code.MEMBER_ID_REQUIRED, member_id)
            return self._add(member_id, request)
        if request.member_id in self._promised:
            self._promised.pop(request.member_id).cancel()
            return self._add(request.member_id, request)
        member = self.members.known(request.member_id, request.instance_id)
        return self._rejoin(member, request)

    def _check_protocols(self, request: JoinRequest) -> None:
        alone = all(member.member_id == request.member_id for member in self.members)
        agrees = alone or (request.protocol_type == self.protocol_type and self.members.share_protocol(request))
        if not request.protocols or not request.protocol_type or not agrees:
            raise KafkaApiError(Code.INCONSISTENT_GROUP_PROTOCOL)

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
        self.members.add(member)
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

    def _replace_static(self, old: Member, request: JoinRequest) -> Joined | asyncio.Future[Joined]:
        """A static member rejoined without its id: it replaces the former one, which is fenced."""
        self.members.remove(old, Code.FENCED_INSTANCE_ID)
        member = self._new_member(f"{request.instance_id}-{self._new_id()}", request)
        member.assignment = old.assignment
        self.members.add(member)
        former_leader = self.leader
        if old.member_id == self.leader:
            self.leader = member.member_id
        if self.state is GroupState.STABLE and self.members.select_protocol() == self.protocol:
            # The former leader's id is given, so that a leader that came back does not compute an assignment
            # that no member would receive (as Kafka does for clients before join version 9).
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
            members = tuple((each.member_id, each.instance_id, each.metadata(self.protocol)) for each in self.members)
        return Joined(Code.NONE, member.member_id, self.generation, self.protocol, self.leader, members)

    # ---- rebalance -------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if self.state is GroupState.COMPLETING:
            for member in self.members:
                member.assignment = b""
                member.answer_sync(Synced(Code.REBALANCE_IN_PROGRESS))
        self.state = GroupState.PREPARING
        self._cancel_rebalance()
        timeout = max((member.rebalance_timeout for member in self.members), default=0.0)
        self._rebalance = self._timers.after(timeout, self._complete)
        self._complete_when_all_joined()

    def _cancel_rebalance(self) -> None:
        if self._rebalance is not None:
            self._rebalance.cancel()
            self._rebalance = None

    def _complete_when_all_joined(self) -> None:
        if not self._promised and all(member.joining is not None for member in self.members):
            self._complete()

    def _complete(self) -> None:
        """Begin the next generation with those who joined, and static members that are away, as Kafka keeps them."""
        self._cancel_rebalance()
        for member in [each for each in self.members if each.joining is None and each.instance_id is None]:
            self.members.remove(member, Code.UNKNOWN_MEMBER_ID)
        joined = [member for member in self.members if member.joining is not None]
        if self.members and not joined:
            self._rebalance = self._timers.after(
                max(member.rebalance_timeout for member in self.members), self._complete
            )
            return
        self.generation += 1
        if not joined:
            self.state = GroupState.EMPTY
            self.protocol = self.leader = ""
            return
        self.state = GroupState.COMPLETING
        self.protocol = self.members.select_protocol()
        if self.leader not in {member.member_id for member in joined}:
            self.leader = joined[0].member_id
        for member in self.members:
            member.session.restart()
            member.answer_join(self._joined(member))

    # ---- sync, heartbeat, leave ------------------------------------------------------------------------------------

    def sync(
        self, member_id: str, instance_id: str | None, generation: int, assignments: list[tuple[str, bytes]]
    ) -> Synced | asyncio.Future[Synced]:
        """The member's assignment; until the leader gave them, a future.

        Raises:
            KafkaApiError: unknown, fenced, of another generation, or the group rebalances.
        """
        member = self.member_of(member_id, generation, instance_id)
        if self.state is GroupState.PREPARING:
            raise KafkaApiError(Code.REBALANCE_IN_PROGRESS)
        member.session.restart()
        if self.state is GroupState.STABLE:
            return Synced(Code.NONE, member.assignment)
        waiting: asyncio.Future[Synced] = asyncio.get_running_loop().create_future()
        member.answer_sync(Synced(Code.REBALANCE_IN_PROGRESS))
        member.syncing = waiting
        if member_id == self.leader:
            given = dict(assignments)
            self.state = GroupState.STABLE
            for each in self.members:
                each.assignment = given.get(each.member_id, b"")
                if each.syncing is not None:
                    each.session.restart()
                each.answer_sync(Synced(Code.NONE, each.assignment))
        return waiting

    def heartbeat(self, member_id: str, generation: int) -> None:
        """Keep the member's session.

        Raises:
            KafkaApiError: unknown, of another generation, or REBALANCE_IN_PROGRESS, which keeps the session too.
        """
        member = self.member_of(member_id, generation)
        member.session.restart()
        if self.state is GroupState.PREPARING:
            raise KafkaApiError(Code.REBALANCE_IN_PROGRESS)

    def leave(self, member_id: str) -> None:
        """Remove the member at once.

        Raises:
            KafkaApiError: unknown member.
        """
        if member_id in self._promised:
            self._promised.pop(member_id).cancel()
        else:
            self.members.remove(self.members.known(member_id), Code.UNKNOWN_MEMBER_ID)
        self._after_departure()

    def member_of(self, member_id: str, generation: int, instance_id: str | None = None) -> Member:
        """The member, if it is of this generation.

        Raises:
            KafkaApiError: as ``Members.known``, or ILLEGAL_GENERATION.
        """
        member = self.members.known(member_id, instance_id)
        if generation != self.generation:
            raise KafkaApiError(Code.ILLEGAL_GENERATION)
        return member

    def _forget_promise(self, member_id: str) -> None:
        if self._promised.pop(member_id, None) is not None:
            self._after_departure()

    def _expire(self, member: Member) -> None:
        if member.joining is not None or member.syncing is not None:
            # It waits for our answer, so it counts as alive.
            member.session.restart()
            return
        self.members.remove(member, Code.UNKNOWN_MEMBER_ID)
        self._after_departure()

    def _after_departure(self) -> None:
        if self.state is GroupState.PREPARING:
            self._complete_when_all_joined()
        elif self.state is not GroupState.EMPTY:
            self._prepare()

    def restart_sessions(self) -> None:
        """Count every session anew, as a coordinator does that loads its groups after a restart."""
        for member in self.members:
            member.session.restart()
