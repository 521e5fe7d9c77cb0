"""The table of requests: which version of each is spoken, its layout on the wire and who answers it.

One version each: the newest that aiokafka 0.14 speaks, but for two whose newest layout aiokafka itself reads wrongly
(DescribeGroups 3) or that would need another header (DeleteRecords 2). Clients choose by ApiVersions. Layouts come from
aiokafka's protocol schemas, so that both ends of the wire are described once.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import NamedTuple, Protocol, TypeAlias

from aiokafka.protocol.admin import (
    AlterConfigsRequest_v1,
    ApiVersionRequest_v0,
    CreatePartitionsRequest_v1,
    CreateTopicsRequest_v3,
    DeleteRecordsRequest_v1,
    DeleteTopicsRequest_v3,
    DescribeConfigsRequest_v2,
    DescribeGroupsRequest_v2,
    ListGroupsRequest_v1,
)
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.commit import OffsetCommitRequest_v3, OffsetFetchRequest_v3
from aiokafka.protocol.coordination import FindCoordinatorRequest_v1
from aiokafka.protocol.fetch import FetchRequest_v11
from aiokafka.protocol.group import (
    HeartbeatRequest_v1,
    JoinGroupRequest_v5,
    LeaveGroupRequest_v1,
    SyncGroupRequest_v3,
)
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.offset import OffsetRequest_v3
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest_v0,
    AddPartitionsToTxnRequest_v0,
    EndTxnRequest_v0,
    InitProducerIdRequest_v0,
    TxnOffsetCommitRequest_v0,
)

from orderflow.embedded_kafka.admin import Admin
from orderflow.embedded_kafka.fetching import Fetching
from orderflow.embedded_kafka.groups.groups import Groups
from orderflow.embedded_kafka.groups.members import Client
from orderflow.embedded_kafka.producing import Producing
from orderflow.embedded_kafka.protocol.codes import Code
from orderflow.embedded_kafka.transactions import Transactions

Fields: TypeAlias = tuple[object, ...]
Answer: TypeAlias = "Fields | asyncio.Future[Fields] | None"

_HEADER = struct.Struct(">hhih")
_CORRELATION = struct.Struct(">i")
API_VERSIONS_KEY = 18


class Layout(Protocol):
    """How a body is written: aiokafka's ``Schema``."""

    def encode(self, item: Fields) -> bytes:
        """The bytes of a body."""
        ...

    def decode(self, data: BytesIO) -> Fields:
        """The fields of a body, in order."""
        ...


class Api(NamedTuple):
    """One kind of request."""

    version: int
    request: Layout
    response: Layout
    answer: Callable[..., Answer]


class Request(NamedTuple):
    """A request as it came: which, from whom, and its body still in bytes."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str
    body: BytesIO


class UnknownRequest(Exception):
    """A request that is not in the table; the connection is closed, as Kafka does."""


def read_request(frame: bytes) -> Request:
    """Take the header off.

    Raises:
        UnknownRequest: too short to be one.
    """
    if len(frame) < _HEADER.size:
        raise UnknownRequest("frame without a header")
    api_key, version, correlation_id, length = _HEADER.unpack_from(frame)
    body = BytesIO(frame)
    body.seek(_HEADER.size)
    client_id = body.read(length).decode() if length > 0 else ""
    return Request(api_key, version, correlation_id, client_id, body)


class Apis:
    """The table, and ApiVersions, which returns it."""

    def __init__(
        self, admin: Admin, producing: Producing, fetching: Fetching, groups: Groups, transactions: Transactions
    ) -> None:
        answers: Mapping[type[RequestStruct], Callable[..., Answer]] = {
            ProduceRequest_v7: producing.produce,
            FetchRequest_v11: fetching.fetch,
            OffsetRequest_v3: fetching.list_offsets,
            MetadataRequest_v5: admin.metadata,
            OffsetCommitRequest_v3: groups.commit_offsets,
            OffsetFetchRequest_v3: groups.fetch_offsets,
            FindCoordinatorRequest_v1: admin.find_coordinator,
            JoinGroupRequest_v5: groups.join,
            HeartbeatRequest_v1: groups.heartbeat,
            LeaveGroupRequest_v1: groups.leave,
            SyncGroupRequest_v3: groups.sync,
            DescribeGroupsRequest_v2: groups.describe,
            ListGroupsRequest_v1: groups.list_groups,
            ApiVersionRequest_v0: self._versions,
            CreateTopicsRequest_v3: admin.create_topics,
            DeleteTopicsRequest_v3: admin.delete_topics,
            DeleteRecordsRequest_v1: admin.delete_records,
            InitProducerIdRequest_v0: transactions.init_producer,
            AddPartitionsToTxnRequest_v0: transactions.add_partitions,
            AddOffsetsToTxnRequest_v0: transactions.add_group,
            EndTxnRequest_v0: transactions.end,
            TxnOffsetCommitRequest_v0: transactions.commit_offsets,
            DescribeConfigsRequest_v2: admin.describe_configs,
            AlterConfigsRequest_v1: admin.alter_configs,
            CreatePartitionsRequest_v1: admin.create_partitions,
        }
        self._table: dict[int, Api] = {
            layout.API_KEY: Api(layout.API_VERSION, layout.SCHEMA, layout.RESPONSE_TYPE.SCHEMA, answer)
            for layout, answer in answers.items()
        }

    def _versions(self, client: Client) -> Fields:
        return Code.NONE, self._ranges()

    def _ranges(self) -> list[Fields]:
        return [(key, api.version, api.version) for key, api in sorted(self._table.items())]

    def answer(self, request: Request, client: Client) -> bytes | asyncio.Future[bytes] | None:
        """The response frame, with its length; a future while the client has to wait; None for no response.

        Raises:
            UnknownRequest: not in the table, or in a version that is not spoken.
        """
        api = self._table.get(request.api_key)
        if api is None or api.version != request.version:
            if request.api_key != API_VERSIONS_KEY:
                raise UnknownRequest(f"api key {request.api_key} version {request.version}")
            # Kafka answers an unknown version of this one request in version 0, with what it does speak (KIP-511).
            return _frame(request, self._table[API_VERSIONS_KEY], (Code.UNSUPPORTED_VERSION, self._ranges()))
        answer = api.answer(client, *api.request.decode(request.body))
        if not isinstance(answer, asyncio.Future):
            return None if answer is None else _frame(request, api, answer)
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def complete(done: asyncio.Future[Fields]) -> None:
            if not waiting.cancelled():
                waiting.set_result(_frame(request, api, done.result()))

        def give_up(done: asyncio.Future[bytes]) -> None:
            if done.cancelled():
                # The connection is lost: a fetch stops watching its partitions.
                answer.remove_done_callback(complete)
                answer.cancel()

        answer.add_done_callback(complete)
        waiting.add_done_callback(give_up)
        return waiting


def _frame(request: Request, api: Api, fields: Fields) -> bytes:
    body = _CORRELATION.pack(request.correlation_id) + api.response.encode(fields)
    return _CORRELATION.pack(len(body)) + body
