"""The group coordinator: all groups and the answers to group requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from orderflow.embedded_kafka.groups.group import Group, GroupState
from orderflow.embedded_kafka.groups.members import Client, Joined, JoinRequest, Protocols, Synced
from orderflow.embedded_kafka.groups.offsets import Offsets
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError
from orderflow.embedded_kafka.protocol.timers import Timers

#: Kafka's group.max.session.timeout.ms.
SESSION_TIMEOUT_SECONDS_MAX = 1800.0
Fields: TypeAlias = tuple[object, ...]


class Groups:
    """All consumer groups by id. ``session_timeout_min`` in seconds is Kafka's group.min.session.timeout.ms."""

    def __init__(self, timers: Timers, new_id: Callable[[], str], offsets: Offsets, session_timeout_min: float) -> None:
        self._timers = timers
        self._new_id = new_id
        self._offsets = offsets
        self._session_timeout_min = session_timeout_min
        self._groups: dict[str, Group] = {}

    def _existing(self, group_id: str) -> Group:
        group = self._groups.get(group_id)
        if group is None:
            raise KafkaApiError(Code.UNKNOWN_MEMBER_ID)
        return group

    # The order of parameters below is that of the fields on the wire.

    def join(
        self,
        client: Client,
        group_id: str,
        session_timeout_ms: int,
        rebalance_timeout_ms: int,
        member_id: str,
        instance_id: str | None,
        protocol_type: str,
        protocols: Protocols,
    ) -> Fields | asyncio.Future[Fields]:
        """JoinGroup v5."""
        request = JoinRequest(
            member_id,
            instance_id,
            protocol_type,
            protocols,
            session_timeout_ms / 1000,
            rebalance_timeout_ms / 1000,
            client,
        )
        try:
            answer = self._join(group_id, request)
        except KafkaApiError as refused:
            return _join_fields(Joined(refused.code, member_id))
        if isinstance(answer, Joined):
            return _join_fields(answer)
        return _later(answer, _join_fields)

    def _join(self, group_id: str, request: JoinRequest) -> Joined | asyncio.Future[Joined]:
        if not group_id:
            raise KafkaApiError(Code.INVALID_GROUP_ID)
        if not self._session_timeout_min <= request.session_timeout <= SESSION_TIMEOUT_SECONDS_MAX:
            raise KafkaApiError(Code.INVALID_SESSION_TIMEOUT)
        if request.member_id and group_id not in self._groups:
            raise KafkaApiError(Code.UNKNOWN_MEMBER_ID)
        group = self._groups.setdefault(group_id, Group(group_id, self._timers, self._new_id))
        return group.join(request)

    def sync(
        self,
        client: Client,
        group_id: str,
        generation: int,
        member_id: str,
        instance_id: str | None,
        assignments: list[tuple[str, bytes]],
    ) -> Fields | asyncio.Future[Fields]:
        """SyncGroup v3."""
        try:
            answer = self._existing(group_id).sync(member_id, instance_id, generation, assignments)
        except KafkaApiError as refused:
            return _sync_fields(Synced(refused.code))
        if isinstance(answer, Synced):
            return _sync_fields(answer)
        return _later(answer, _sync_fields)

    def heartbeat(self, client: Client, group_id: str, generation: int, member_id: str) -> Fields:
        """Heartbeat v1."""
        try:
            self._existing(group_id).heartbeat(member_id, generation)
        except KafkaApiError as refused:
            return 0, refused.code
        return 0, Code.NONE

    def leave(self, client: Client, group_id: str, member_id: str) -> Fields:
        """LeaveGroup v1."""
        try:
            self._existing(group_id).leave(member_id)
        except KafkaApiError as refused:
            return 0, refused.code
        return 0, Code.NONE

    def commit_offsets(
        self,
        client: Client,
        group_id: str,
        generation: int,
        member_id: str,
        retention_ms: int,
        topics: list[tuple[str, list[tuple[int, int, str | None]]]],
    ) -> Fields:
        """OffsetCommit v3."""
        try:
            self._check_committer(group_id, generation, member_id)
        except KafkaApiError as refused:
            return 0, [(topic, [(each[0], refused.code) for each in partitions]) for topic, partitions in topics]
        return 0, [
            (topic, [(each[0], self._offsets.commit(group_id, topic, *each)) for each in partitions])
            for topic, partitions in topics
        ]

    def _check_committer(self, group_id: str, generation: int, member_id: str) -> None:
        group = self._groups.get(group_id)
        if group is None or (generation < 0 and group.state is GroupState.EMPTY):
            # A consumer that only keeps its offsets in Kafka, without being a member.
            if generation >= 0:
                raise KafkaApiError(Code.ILLEGAL_GENERATION)
            return
        member = group.member_of(member_id, generation) if generation >= 0 else group.members.known(member_id)
        if group.state is GroupState.COMPLETING:
            raise KafkaApiError(Code.REBALANCE_IN_PROGRESS)
        member.session.restart()

    def fetch_offsets(self, client: Client, group_id: str, topics: list[tuple[str, list[int]]] | None) -> Fields:
        """OffsetFetch v3; None asks for all."""
        if topics is None:
            topics = self._offsets.committed_partitions(group_id)
        found = [
            (topic, [(number, *self._offsets.committed(group_id, topic, number), Code.NONE) for number in partitions])
            for topic, partitions in topics
        ]
        return 0, found, Code.NONE

    def list_groups(self, client: Client) -> Fields:
        """ListGroups v1: groups with members and groups with offsets."""
        groups = dict.fromkeys(self._offsets.groups(), "")
        groups.update((group.group_id, group.protocol_type) for group in self._groups.values())
        return 0, Code.NONE, sorted(groups.items())

    def describe(self, client: Client, group_ids: list[str]) -> Fields:
        """DescribeGroups v2; a group that does not exist is "Dead", without an error."""
        return 0, [self._described(group_id) for group_id in group_ids]

    def _described(self, group_id: str) -> Fields:
        group = self._groups.get(group_id)
        if group is None:
            state = GroupState.EMPTY if group_id in self._offsets.groups() else "Dead"
            return Code.NONE, group_id, state, "", "", []
        stable = group.state is GroupState.STABLE
        members = [
            (
                member.member_id,
                member.client.client_id,
                member.client.host,
                member.metadata(group.protocol) if stable else b"",
                member.assignment if stable else b"",
            )
            for member in group.members
        ]
        return Code.NONE, group_id, group.state, group.protocol_type, group.protocol if stable else "", members

    def restart_sessions(self) -> None:
        """Count every session anew, as after a restart of the broker."""
        for group in self._groups.values():
            group.restart_sessions()


def _join_fields(joined: Joined) -> Fields:
    return (
        0,
        joined.code,
        joined.generation,
        joined.protocol,
        joined.leader,
        joined.member_id,
        joined.members,
    )


def _sync_fields(synced: Synced) -> Fields:
    return 0, synced.code, synced.assignment


def _later(
    answer: asyncio.Future[Joined] | asyncio.Future[Synced], fields: Callable[..., Fields]
) -> asyncio.Future[Fields]:
    """The future of the fields on the wire, done when the answer is."""
    waiting: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()

    def complete(done: asyncio.Future[Joined] | asyncio.Future[Synced]) -> None:
        if not waiting.cancelled():
            waiting.set_result(fields(done.result()))

    answer.add_done_callback(complete)
    return waiting
