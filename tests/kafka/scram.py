"""Users with SCRAM passwords, made through Kafka's own request: aiokafka's admin client has none for it."""

from __future__ import annotations

import hashlib
import os
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from producers.connection import KafkaConnection

#: Kafka's number, and the hash, of each mechanism.
MECHANISMS: Final = {"SCRAM-SHA-256": (1, "sha256"), "SCRAM-SHA-512": (2, "sha512")}
_ITERATIONS: Final = 4096  # the least that Kafka takes


class _Answer(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Asked(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterUserScramCredentials(Request[_Asked]):  # type: ignore[misc]
    API_KEY = 51

    def __init__(self, user: str, password: str, number: int, name: str) -> None:
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, _ITERATIONS)
        self._upsertion: tuple[object, ...] = (user, number, _ITERATIONS, salt, salted, {})

    def build(self, request_struct_class: type[_Asked]) -> _Asked:
        return request_struct_class([], [self._upsertion], {})


async def give_password(connection: KafkaConnection, user: str, password: str) -> None:
    """Make ``user``, who then logs in with ``password`` by each of the mechanisms."""
    admin = AIOKafkaAdminClient(**connection.client_options())
    await admin.start()
    try:
        for number, name in MECHANISMS.values():
            answer = await admin._send_to_controller(_AlterUserScramCredentials(user, password, number, name))
            assert [code for _, code, *_ in answer.results] == [0], answer
    finally:
        await admin.close()
