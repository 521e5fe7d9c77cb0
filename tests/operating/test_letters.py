"""Letters retried, dropped and edited on a real order lane: in order, once, with results that add up."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orderflow.cli.one_order import order_repairs
from orderflow.operations.actions.acting import read_letter_record, read_window, send_edit
from orderflow.operations.actions.execution import carry_out
from orderflow.operations.actions.selection import Plan, plan_retry
from orderflow.operations.letters.editing import EDITED_HEADER, Edit, edited
from orderflow.settings import load_settings
from producers.topics import Topic
from statemachine.errors import ConfigError
from tests.operating.desk import ACTOR, REASON, BadRelease, counts, desk
from tests.orders.lane import Given, Lane, given, key_on, order_lane, read
from tests.unit.statemachine.story import cart

SOURCE = {"source_id": "sim-card-1"}
TERMS = {"terms_accepted": True}


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> BadRelease:
    """The worker's release, which may be a bad one."""
    return BadRelease(monkeypatch)


async def fail(lane: Lane, release: BadRelease, *orders: str) -> None:
    """Orders with a checkout, whose source the bad release cannot decide: they hold."""
    await lane.until_state("checkout_open", *orders)
    release.broken.add("checkout.source_provided")
    await lane.send(*[given("checkout.source_provided", one, SOURCE) for one in orders])
    await lane.until(lambda: all(lane.order(one).get("held") for one in orders))


async def test_failed_letters_are_retried_in_bulk_and_nothing_overtakes(
    kafka: str, prefix: str, release: BadRelease
) -> None:
    """The orders hold; the retry after the repair releases each, and what waited behind comes after."""
    operator = await desk(kafka, prefix)
    orders = [f"O-{number}" for number in range(6)]
    async with order_lane(kafka, prefix) as lane:
        await lane.send(*[given("checkout.requested", one, cart()) for one in orders])
        await fail(lane, release, *orders)
        await lane.send(*[given("order.placed", one, TERMS) for one in orders])
        await lane.settled()
        assert len(await operator.open_letters()) == 6
        again = await operator.retry_all()
        assert counts(again) == {"failed": 6}, "the release is as bad as before"
        assert len(await operator.open_letters()) == 6, "no new letter was written, so the old one is still open"
        release.broken.clear()
        done = await operator.retry_all()
        assert (done.state, counts(done)) == ("done", {"moved": 6})
        await lane.until(lambda: all(lane.order(one).get("state") in ("submitted", "placing") for one in orders))
        outputs = await lane.outputs()
    letters, table = await operator.letters()
    assert {table.status(str(letter.id)) for letter in letters} == {"retried"}
    for one in orders:
        changes = outputs.changes_of(one)
        causes = [change["cause"]["type"] for change in changes]
        at = len(causes) - 1 - causes[::-1].index("operator.released")
        assert causes[at + 1] == "digitalriver.source_attached"
        assert "order.placed" in causes[at + 2 :]
        assert (changes[at]["actor"], changes[at]["reason"]) == (ACTOR, REASON)


async def test_letters_of_one_order_come_in_their_order_each_after_the_result_of_the_one_before(
    kafka: str, prefix: str
) -> None:
    """The second is good only after the first: sent together, or the other way round, it would be refused again."""
    operator = await desk(kafka, prefix)
    first, second = key_on(0), key_on(1)
    async with order_lane(kafka, prefix) as lane:
        for one in (first, second):
            bad = {**cart(), "currency": "usd"}
            await lane.send(given("checkout.requested", one, bad))
            await lane.settled()
            await lane.send(given("order.placed", one, {"terms_accepted": "x"}))
        await lane.settled()
        letters, table = await operator.letters()
        plan = plan_retry(letters, list(reversed(letters)), table.letters)
        assert [item.topic for item in plan.items if item.key == first] == [Topic.CHECKOUT_EVENTS, Topic.ORDER_EVENTS]
        done = await operator.do("retry", plan)
        assert counts(done) == {"refused": 4}
        again = await operator.open_letters()
        assert [letter.redelivered for letter in again] == [1] * 4
        for _ in range(2):
            await operator.retry_all()
        plan = await operator.plan()
    assert plan.items == [], "a letter that was delivered three times is left to a person"
    assert all("3 times" in why for _, why in plan.left_out), plan.left_out


async def test_a_drop_releases_the_order_without_the_event(kafka: str, prefix: str, release: BadRelease) -> None:
    """What waited behind it is decided; the letter stays, marked."""
    operator = await desk(kafka, prefix)
    held, other = key_on(0), key_on(1)
    async with order_lane(kafka, prefix) as lane:
        await lane.send(given("checkout.requested", held, cart()), given("checkout.requested", other, {"no": "cart"}))
        await fail(lane, release, held)
        await lane.send(given("checkout.abandoned", held, {}))
        await lane.settled()
        done = await operator.do("drop", await operator.plan(drop=True))
        assert counts(done) == {"moved": 2}
        await lane.until_state("abandoned", held)
    letters, table = await operator.letters()
    assert [table.status(str(letter.id)) for letter in letters] == ["dropped", "dropped"]
    assert {record.reason for record in table.letters.values()} == {REASON}


@pytest.mark.parametrize(
    ("repaired", "drop", "status", "state"),
    [
        (True, False, "retried", "checkout_ready"),
        (False, False, "open", "checkout_open"),
        (False, True, "dropped", "checkout_open"),
    ],
)
async def test_a_release_closes_the_letter_of_the_event_that_held_the_order(
    kafka: str, prefix: str, release: BadRelease, *, repaired: bool, drop: bool, status: str, state: str
) -> None:
    """Decided or dropped, it is done with, and no other letter is; failed again, it waits for the next repair."""
    operator, held = await desk(kafka, prefix), key_on(0)
    settings = load_settings(kafka_bootstrap=kafka, topic_prefix=prefix, actor=ACTOR)
    async with order_lane(kafka, prefix) as lane:
        await lane.send(given("checkout.requested", held, cart()), given("order.placed", held, {"no": "terms"}))
        await fail(lane, release, held)
        if repaired:
            release.broken.clear()
        data: Any = order_repairs._dropped if drop else {}
        done = await order_repairs._done(settings, "released", data, held, REASON, apply=True, seconds=15.0)
        await lane.until_state(state, held)
        assert bool(lane.order(held).get("held")) is (status == "open")
    letters, table = await operator.letters()
    assert {letter.type: table.status(str(letter.id)) for letter in letters} == {
        "order.placed": "open",
        "checkout.source_provided": status,
    }
    assert len(done.closed) == (status != "open")
    for one in done.closed:
        assert (table.letters[one].actor, table.letters[one].reason) == (ACTOR, REASON)
        assert table.letters[one].event == done.event_id


async def test_an_edit_is_a_new_event_that_names_its_letter_and_the_paths(
    kafka: str, prefix: str, release: BadRelease
) -> None:
    """Also when the letter holds its order: the failed event goes, the edited one is decided."""
    operator = await desk(kafka, prefix)
    bad, held = key_on(0), key_on(1)
    async with order_lane(kafka, prefix) as lane:
        await lane.send(given("checkout.requested", bad, {**cart(), "currency": "usd"}))
        await lane.send(given("checkout.requested", held, cart()))
        await fail(lane, release, held)
        release.broken.clear()
        reader = await operator.reader()
        for letter in await operator.open_letters():
            record = await read_letter_record(reader, letter)
            assert record is not None
            path, text = ("currency", "USD") if letter.key == bad else ("data.source_id", "sim-card-2")
            new, paths = edited(record, Edit(sets=((path, text),)), letter=str(letter.id))
            await send_edit(reader, letter, None, new, paths, actor=ACTOR, reason=REASON)
        await lane.until_state("checkout_open", bad)
        await lane.until_state("checkout_ready", held)
        outputs = await lane.outputs()
    letters, table = await operator.letters()
    records = [table.letters[str(letter.id)] for letter in letters]
    assert [(record.status, len(record.edited)) for record in records] == [("edited", 1), ("edited", 1)]
    change = next(one for one in outputs.changes_of(bad) if one["cause"]["type"] == "operator.redelivered")
    assert change["redelivered"]["type"] == "checkout.requested"
    assert EDITED_HEADER == "orderflow-edited"


async def test_a_letter_is_edited_or_given_up_only_once(kafka: str, prefix: str) -> None:
    """Two operators saw the same open letters: the second edit is refused, a retry that was made before sends neither."""
    operator = await desk(kafka, prefix)
    first, second = key_on(0), key_on(1)
    async with order_lane(kafka, prefix) as lane:
        for order in (first, second):
            await lane.send(given("checkout.requested", order, {**cart(), "currency": "usd"}))
        await lane.settled()
        reader = await operator.reader()
        one, other = sorted(await operator.open_letters(), key=lambda letter: letter.key != first)
        made = await operator.make("retry", await operator.plan())
        record = await read_letter_record(reader, one)
        assert record is not None
        for currency, meanwhile in (("USD", False), ("EUR", True)):
            new, paths = edited(record, Edit(sets=(("currency", currency),)), letter=str(one.id))
            with pytest.raises(ConfigError, match=r"was edited by .* meanwhile") if meanwhile else nullcontext():
                await send_edit(reader, one, None, new, paths, actor=ACTOR, reason=REASON)
        await operator.do("drop", await operator.plan(take=lambda letter: letter.id == other.id, drop=True))
        done = await carry_out(await operator.reader(), made.action)
        assert counts(done) == {"refused": 2}
        await lane.until_state("checkout_open", first)
    _, table = await operator.letters()
    assert [table.status(str(letter.id)) for letter in (one, other)] == ["edited", "dropped"]


async def test_a_window_of_a_topic_that_is_delivered_again_changes_nothing(kafka: str, prefix: str) -> None:
    """The same facts: nothing but the inbox is written."""
    operator = await desk(kafka, prefix)
    orders = [f"O-{number}" for number in range(8)]
    async with order_lane(kafka, prefix) as lane:
        await lane.send(*[given("checkout.requested", one, cart()) for one in orders])
        await lane.send(Given(Topic.CHECKOUT_EVENTS, None, b"no key"))
        await lane.until_state("checkout_open", *orders)
        before = await lane.outputs()
        since = datetime.now(UTC) - timedelta(hours=1)
        items, unsound = await read_window(await operator.reader(), Topic.CHECKOUT_EVENTS, since=since, until=None)
        assert (len(items), unsound) == (8, 1)
        done = await operator.do("redeliver", Plan(items, []), rate=100.0)
        assert counts(done) == {"same": 8}
        after = await lane.outputs()
    assert len(after.changes) == len(before.changes)
    assert len(after.raw[Topic.DR_COMMANDS]) == len(before.raw[Topic.DR_COMMANDS])


async def test_a_letter_of_another_lane_goes_back_to_its_topic(kafka: str, prefix: str) -> None:
    """With the count of its deliveries, for the loop guard; nobody has to answer."""
    operator = await desk(kafka, prefix)
    own = (
        ("orderflow-reason", b"bad_signature"),
        ("orderflow-detail", b"the signature is missing"),
        ("orderflow-topic", b"dr-webhooks"),
        ("orderflow-partition", b"1"),
        ("orderflow-offset", b"7"),
        ("orderflow-at", b"2031-03-04T10:11:12Z"),
    )
    async with order_lane(kafka, prefix) as lane:
        await lane.send(Given(Topic.DEAD_LETTERS, None, b'{"type": "order.accepted"}', (("trace", b"1"), *own)))
        lane.sent -= 1
        done = await operator.retry_all()
    assert counts(done) == {"moved": 1}
    (written,) = (await read(kafka, prefix, Topic.DR_WEBHOOKS))[Topic.DR_WEBHOOKS]
    assert (written.partition, written.value) == (1, b'{"type": "order.accepted"}')
    assert list(written.headers) == [("trace", b"1"), ("orderflow-redelivered", b"1")]
