"""Sends the events of one order, and waits for the refusal of one that breaks the contract.

python producer.py BOOTSTRAP PREFIX REFUSALS ORDER_ID
"""

import asyncio
import json
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

ADDRESS = {"name": "Mia Lund", "line1": "12 Harbor Street", "city": "Minneapolis", "state": "MN", "country": "US"}
MIA = {"currency": "USD", "locale": "en_US", "email": "mia@example.com", "customer": {"kind": "guest"}}
ITEM = {"line": "1", "sku_id": "mug-blue", "quantity": 2, "price": "9.50"}  # money: text with the currency's digits
TO = {**ADDRESS, "postal_code": "55401"}
SHIPPING = {"ship_to": TO, "ship_from": {"country": "US", "postal_code": "78701"}}
PRICE = {"shipping": {"amount": "4.95", "description": "parcel", "service_level": "SG"}}
CART = {**MIA, "bill_to": TO, "items": [ITEM], **SHIPPING, **PRICE}


async def main(bootstrap: str, prefix: str, refusals: str, order_id: str) -> None:
    """Send the events, then wait for the refusal and print it."""
    # aiokafka's own partitioner is that of the Java client. acks="all" and idempotence: nothing is lost or doubled.
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    reader = AIOKafkaConsumer(
        prefix + refusals, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await producer.start()
    await reader.start()

    async def send(topic: str, kind: str, data: dict[str, Any], name: str) -> None:
        event = {
            "specversion": "1.0",
            "id": f"{order_id}-{name}",
            "source": "/kit/python",
            "type": kind,
            "subject": order_id,
            "data": data,
        }
        await producer.send_and_wait(prefix + topic, json.dumps(event).encode(), key=order_id.encode())

    await send("checkout-events", "checkout.requested", CART, "cart")
    await send("checkout-events", "checkout.source_provided", {"source_id": f"sim-card-{order_id}"}, "source")
    await send("order-events", "order.placed", {"terms_accepted": False}, "refused")  # the shopper must accept them
    await send("order-events", "order.placed", {"terms_accepted": True}, "placed")
    await send(
        "fulfillment-events",
        "fulfillment.shipped",
        {"shipment_id": f"P-{order_id}", "items": [{"line": "1", "quantity": 2}]},
        "parcel",
    )
    async for record in reader:
        event = json.loads(record.value)
        if event["type"] == "order.event_refused" and event["data"]["cause"]["id"] == f"{order_id}-refused":
            print(json.dumps(event["data"]))
            break
    await reader.stop()
    await producer.stop()


asyncio.run(main(*sys.argv[1:]))
