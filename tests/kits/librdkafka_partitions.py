"""Sends a record with each of KEYS (base64, with spaces between) by librdkafka, and prints its partition.

``BOOTSTRAP TOPIC PARTITIONER``; runs where confluent-kafka is installed, which is not among this project's requirements.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

from confluent_kafka import Producer


def main() -> None:
    """Send, wait, print."""
    bootstrap, topic, partitioner = sys.argv[1:]
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": partitioner})
    keys = [base64.b64decode(key) for key in os.environ["KEYS"].split(" ")]
    landed: dict[bytes, int] = {}

    def note(error: Any, message: Any) -> None:
        assert error is None, error
        landed[message.key()] = message.partition()

    for key in keys:
        producer.produce(topic, key=key, value=b"", on_delivery=note)
    assert producer.flush(20) == 0
    print(*(landed[key] for key in keys), sep="\n")  # noqa: T201  # its result


if __name__ == "__main__":
    main()
