"""Which fulfilment a capture or cancel is for."""

from __future__ import annotations

from orderflow.digitalriver import operations, wire
from statemachine.messages.ids import ChargeId, FulfillmentId


def test_the_fulfilment_of_an_operation_is_known_from_elsewhere() -> None:
    """Law: what a capture says itself stands; else whoever names the operation's id; else it stays open."""
    own, other, bare = FulfillmentId("ful-1"), FulfillmentId("ful-2"), wire.Operation(id="c-3")
    charge = wire.Charge(
        id=ChargeId("ch"),
        state="capturable",
        captures=[wire.Operation(id="c-1", fulfillment_id=own), wire.Operation(id="c-2"), bare],
        cancels=[wire.Operation(id="v-1"), wire.Operation()],
    )
    known = operations.with_fulfillments(charge, {"c-1": other, "c-2": other, "v-1": own})
    assert [one.fulfillment_id for one in (*known.captures, *known.cancels)] == [own, other, None, own, None]
    assert operations.has_nameless(known)
    assert not operations.has_nameless(wire.Charge(id=ChargeId("ch"), state="pending"))
    assert operations.makers_of(known) == {"c-1": own, "c-2": other, "v-1": own}
