"""Producers whose batches are compressed as the settings say, LZ4 at its fast level."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import Any

import aiokafka
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.record.default_records import DefaultRecordBase

from producers.connection import KafkaConnection
from producers.packing.lz4 import Lz4Batch
from statemachine.errors import ConfigError

_accumulator_of = attrgetter("_message_accumulator")


def make_producer(connection: KafkaConnection, *, max_batch_size: int, **options: Any) -> AIOKafkaProducer:
    """A producer that is not started yet.

    aiokafka makes each batch, those of ``create_batch`` and those of ``send``, by one method of the producer's accumulator. Its
    documentation does not promise that method, so it is replaced in this producer alone, and only for LZ4.

    Args:
        connection: Address, security and compression.
        max_batch_size: Bytes of a batch before compression.
        options: Further keyword arguments of ``AIOKafkaProducer``.

    Raises:
        ConfigError: This aiokafka has no such method.
    """
    ours = connection.compression_type == "lz4"
    if ours and not hasattr(MessageAccumulator, "create_builder"):
        raise ConfigError(
            f"aiokafka {aiokafka.__version__} is not supported: orderflow cannot set the level of its LZ4; "
            "install the version that orderflow's requirements name"
        )
    producer = AIOKafkaProducer(
        **connection.client_options(),
        compression_type=None if ours else connection.compression_type,
        max_batch_size=max_batch_size,
        **options,
    )
    if ours:
        _accumulator_of(producer).create_builder = partial(
            Lz4Batch,
            max_batch_size,
            DefaultRecordBase.CODEC_NONE,
            is_transactional=options.get("transactional_id") is not None,
        )
    return producer
