"""Records as the official SDKs of CloudEvents make them are read, in structured and in binary mode, and the schemas say so."""

from __future__ import annotations

import json
from typing import Final

import pytest

from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Headers, Record
from statemachine.messages.events import OrderPlaced
from tests.contract.messages.agreement import VALIDATORS

_DATA: Final = b'{"terms_accepted":true}'
_BEGIN: Final = '{"specversion":"1.0","id":"A-1-placed","source":"/shop","type":"order.placed"'
_JSON: Final = "application/json"
_TIME: Final = "2031-03-04T10:11:12.017Z"


def _binary(**more: str) -> Headers:
    ours = {
        "ce_id": "A-1-placed",
        "ce_source": "/shop",
        "ce_type": "order.placed",
        "ce_specversion": "1.0",
        "ce_subject": "A-1",
    }
    return tuple((name, text.encode()) for name, text in {**ours, **more}.items())


#: Headers and value, as each SDK gave them for the same event (Java 4.0.1, JavaScript 10.0.0, Python 2.2.0).
_RECORDS: Final[dict[str, tuple[Headers, str]]] = {
    "java, structured": (
        (("content-type", b"application/cloudevents+json"),),
        f'{_BEGIN},"datacontenttype":"{_JSON}","subject":"A-1","data":{{"terms_accepted":true}}}}',
    ),
    "java, binary": (_binary(**{"content-type": _JSON}), _DATA.decode()),
    "javascript, structured": (
        (("content-type", b"application/cloudevents+json; charset=utf-8"),),
        f'{_BEGIN},"time":"{_TIME}","subject":"A-1","data":{{"terms_accepted":true}},"partitionkey":"A-1"}}',
    ),
    "javascript, binary": (_binary(ce_time=_TIME, ce_partitionkey="A-1"), _DATA.decode()),
    "python, structured": (
        (("content-type", b"application/cloudevents+json"),),
        f'{_BEGIN},"subject":"A-1","datacontenttype":"{_JSON}","time":"{_TIME}","data":{{"terms_accepted":true}}}}',
    ),
    "python, binary": (_binary(ce_time=_TIME, **{"content-type": _JSON}), _DATA.decode()),
}


@pytest.mark.parametrize("name", _RECORDS)
def test_a_record_of_an_sdk_is_read(name: str) -> None:
    """The decoder takes it, and so does the schema of its mode."""
    headers, value = _RECORDS[name]
    event = decode(Record("order-events", 0, 0, b"A-1", value.encode(), headers))
    assert (event.type, event.data) == ("order.placed", OrderPlaced(terms_accepted=True))
    if "binary" in name:
        VALIDATORS["binary-headers"].validate({header: (content or b"").decode() for header, content in headers})
    else:
        VALIDATORS["order.placed"].validate(json.loads(value))
