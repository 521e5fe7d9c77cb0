"""The assignor: partition number p of all input topics goes to one member, and stays there while it can.

aiokafka rebalances eagerly: everything is assigned anew each time, so a member sends with its join what it had. It claims its
last partitions, with the round in which it got them; the newest claim wins, so a member that was frozen cannot take partitions
from those that serve them. Shares differ by one at most. Without a claim, the lowest number goes to the member that has the
fewest, in the order of worker names, so that every member would compute the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from statemachine.errors import ConfigError


class Claim(msgspec.Struct, frozen=True):
    """What a member sends to the leader when it joins."""

    worker: str
    round: int = 0
    partitions: tuple[int, ...] = ()


_claims = msgspec.json.Decoder(Claim)
_encode = msgspec.json.Encoder().encode


def assign_partitions(partitions: Iterable[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Assign each partition to one member: claims first, newest round first, shares differ by one at most.

    Args:
        partitions: All partition numbers.
        claims: What each member claims, by member id.
    """
    numbers = sorted(set(partitions))
    members = sorted(claims, key=lambda member: (claims[member].worker, member))
    low, extra = divmod(len(numbers), len(members))
    shares: dict[str, list[int]] = {member: [] for member in members}
    free = set(numbers)
    # Newest claims first; the members with an extra partition are those who can fill it from their claims.
    for member in sorted(members, key=lambda m: (-claims[m].round, -len(claims[m].partitions), claims[m].worker, m)):
        wanted = sorted(p for p in set(claims[member].partitions) if p in free)
        take = wanted[: low + 1] if extra and len(wanted) > low else wanted[:low]
        if len(take) > low:
            extra -= 1
        shares[member] = take
        free.difference_update(take)
    for number in sorted(free):
        member = min(members, key=lambda m: (len(shares[m]), claims[m].worker, m))
        shares[member].append(number)
    return shares


class CoPartitionedSticky(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka is untyped
    """One instance per worker; aiokafka takes instances as well as classes."""

    name = "orderflow-copartitioned-sticky"

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._round = 0
        self._owned: tuple[int, ...] = ()
        #: Why partitions could not be assigned. aiokafka only logs what ``assign`` raises, so the membership checks this.
        self.refusal: ConfigError | None = None

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member joins with: the topics, and the claim to its last partitions."""
        claim = Claim(self._worker, self._round, self._owned)
        return ConsumerProtocolMemberMetadata(0, sorted(topics), _encode(claim))

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what was assigned to this member, and in which round."""
        self._owned = tuple(sorted({number for _, numbers in assignment.assignment for number in numbers}))
        self._round = int(assignment.user_data or b"0")

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The leader's work: p of every topic to the same member.

        Raises:
            ConfigError: The topics have different partition counts, or members subscribe to different topics.
        """
        try:
            return self._share(cluster, members)
        except ConfigError as error:
            self.refusal = error
            raise

    def _share(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        if any(sorted(member.subscription) != topics for member in members.values()):
            raise ConfigError(f"members of one group read different topics; all must read {', '.join(topics)}")
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        if len(set(counts.values())) != 1:
            raise ConfigError(f"input topics must have the same number of partitions, but have {counts}")
        claims = {member: self._claim(metadata) for member, metadata in members.items()}
        shares = assign_partitions(range(next(iter(counts.values()))), claims)
        number = str(max(claim.round for claim in claims.values()) + 1).encode()
        return {
            member: ConsumerProtocolMemberAssignment(0, [(topic, share) for topic in topics if share], number)
            for member, share in shares.items()
        }

    @staticmethod
    def _claim(metadata: ConsumerProtocolMemberMetadata) -> Claim:
        try:
            return _claims.decode(metadata.user_data or b"")
        except msgspec.DecodeError:
            return Claim("")
