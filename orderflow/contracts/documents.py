"""The contract as files: a JSON Schema for each message, and one AsyncAPI 3 document with all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from orderflow import __version__
from orderflow.contracts import inbound
from orderflow.contracts.client_words import CLIENT_RULES
from orderflow.contracts.messages import Contract, Direction, Message, contract, key_words
from orderflow.contracts.schema import REF, Schema, needed
from orderflow.contracts.unsaid import UNSAID
from producers.topics import TOPICS, Topic
from statemachine.messages.events import REGISTRY

ASYNCAPI: Final = "asyncapi.json"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
BINARY_HEADERS: Final = "binary-headers"
_DEFINITIONS: Final = "#/components/schemas/"
_KAFKA: Final = {"bindingVersion": "0.5.0"}
_VERB: Final[dict[Direction, str]] = {"receive": "Receives", "send": "Sends"}


def schema_of(message: Message, whole: Contract) -> Schema:
    """The schema of a message by itself: that of its value, or of its headers where the value is not ours."""
    schema = message.headers if message.headers is not None else message.value
    document = {"$schema": DIALECT, "$id": f"urn:orderflow:{message.name}", "title": message.name, **schema}
    if message.example is not msgspec.UNSET:
        document["examples"] = [message.example]
    parts = needed(schema, whole.definitions)
    return {**document, "$defs": parts} if parts else document


def schema_files(whole: Contract) -> dict[str, Schema]:
    """The schemas by the names of their files."""
    found = {f"{message.name}.json": schema_of(message, whole) for message in whole.messages}
    headers = inbound.binary_headers_schema([*REGISTRY])
    found[f"{BINARY_HEADERS}.json"] = {
        "$schema": DIALECT,
        "$id": f"urn:orderflow:{BINARY_HEADERS}",
        "title": BINARY_HEADERS,
        **headers,
    }
    return found


def asyncapi_document(whole: Contract) -> dict[str, Any]:
    """The AsyncAPI document, seen from orderflow: it receives what senders write, and sends what readers read."""
    topics = list(dict.fromkeys(message.topic for message in whole.messages))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "orderflow",
            "version": __version__,
            "description": _description(),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": {"host": "localhost:9092", "protocol": "kafka", "description": "Apache Kafka"}},
        "channels": {topic: _channel(topic, whole) for topic in topics},
        "operations": {
            f"{direction}.{topic}": _operation(topic, direction, whole) for topic, direction in _directions(whole)
        },
        "components": {
            "messages": {message.name: _message(message) for message in whole.messages},
            "schemas": {
                name: _draft_7(schema)
                for name, schema in (
                    *whole.definitions.items(),
                    *((message.name, message.value) for message in whole.messages),
                    (BINARY_HEADERS, inbound.binary_headers_schema([*REGISTRY])),
                )
            },
        },
    }


def _directions(whole: Contract) -> dict[tuple[str, Direction], None]:
    return dict.fromkeys((message.topic, message.direction) for message in whole.messages)


def _description() -> str:
    clients, rules = ("\n".join(f"- {rule}" for rule in some) for some in (CLIENT_RULES, UNSAID.values()))
    return (
        "Orders sold through Digital River, as a state machine over Kafka. Inbound records are CloudEvents 1.0 in structured "
        f"mode; in binary mode the headers follow `{BINARY_HEADERS}` and the value is the data. Read past members that you do "
        f"not know.\n\nWhat a client does:\n\n{clients}\n\nThe decoder also holds what a schema cannot say:\n\n{rules}"
    )


def _channel(topic: str, whole: Contract) -> dict[str, Any]:
    spec = TOPICS[Topic(topic)]
    return {
        "address": topic,
        "description": f"Key: {spec.key}. The prefix of the settings stands before the name.",
        "messages": {
            message.name: {"$ref": f"#/components/messages/{message.name}"}
            for message in whole.messages
            if message.topic == topic
        },
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": [spec.cleanup.value]}, **_KAFKA}},
    }


def _operation(topic: str, direction: Direction, whole: Contract) -> dict[str, Any]:
    return {
        "action": direction,
        "channel": {"$ref": f"#/channels/{topic}"},
        "summary": f"{_VERB[direction]} records of {topic}.",
        "messages": [
            {"$ref": f"#/channels/{topic}/messages/{message.name}"}
            for message in whole.messages
            if (message.topic, message.direction) == (topic, direction)
        ],
    }


def _message(message: Message) -> dict[str, Any]:
    key = key_words(message.topic)
    schema = {"type": "string", "description": key}
    if key != "any" and message.direction == "receive":
        schema = {**inbound.key_schema(message.topic), "description": key}
    described: dict[str, Any] = {
        "name": message.name,
        "title": message.name,
        "summary": message.said,
        "contentType": "application/json",
        "payload": {"$ref": f"{_DEFINITIONS}{message.name}"},
        "bindings": {"kafka": {"key": schema, **_KAFKA}},
    }
    if message.headers is not None:
        described["headers"] = _draft_7(message.headers)
    if message.example is not msgspec.UNSET:
        described["examples"] = [{"name": "example", "payload": message.example}]
    return described


def _draft_7(schema: Any) -> Any:
    """A schema as AsyncAPI has it, a superset of draft 7: references into the document, and nothing beside them."""
    if isinstance(schema, list):
        return [_draft_7(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _draft_7(part) for name, part in schema.items()}
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
    if isinstance(found.get("$ref"), str):
        target = {"$ref": found.pop("$ref").replace(REF, _DEFINITIONS)}
        return {"allOf": [target], **found} if found else target
    return found


def files(whole: Contract | None = None) -> dict[str, str]:
    """Every file of the contract by its path below the folder, with its text."""
    whole = whole or contract()
    texts = {ASYNCAPI: asyncapi_document(whole)}
    texts |= {f"schemas/{name}": schema for name, schema in schema_files(whole).items()}
    return {path: json.dumps(document, indent=1) + "\n" for path, document in texts.items()}


def write(folder: Path) -> list[str]:
    """Write the contract into a folder, which is made when it is not there; the paths below it that were written."""
    texts = files()
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return list(texts)
