"""The soak of the calls in a minute, and what it is made of: a judge that sees, a network that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.soak.children import Child, python
from tests.soak.histories import KINDS, Expected, make_histories
from tests.soak.judge import COUNTED, NOTHING, Evidence, judge
from tests.soak.network import Kind, can_have_namespaces, open_network
from tests.soak.run import quick_plan, run_soak, verdict_lines


@pytest.mark.kafka
@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_no_effect_is_doubled_and_none_is_missing_whatever_fails(apache_kafka: str, tmp_path: Path) -> None:
    """Workers killed and frozen, the network cut, Digital River late, silent, failing and throttling: each effect comes once."""
    verdict = await run_soak(quick_plan(seed=5), apache_kafka, tmp_path, print)
    assert verdict.good, "\n".join(verdict_lines(verdict))
    assert {*verdict.commands} >= {
        "create_checkout", "attach_source", "delete_checkout", "place_order", "refresh_order",
        "create_fulfillment", "create_refund", "create_return", "accept_return",
    }  # fmt: skip


@pytest.mark.kafka
@pytest.mark.chaos
@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_without_the_wait_for_late_effects_the_judge_finds_doubled_ones(
    apache_kafka: str, tmp_path: Path
) -> None:
    """The test above can fail: with workers that call again at their time-out it does."""
    verdict = await run_soak(quick_plan(seed=5, guard=False), apache_kafka, tmp_path, print)
    assert verdict.doubled, "\n".join(verdict_lines(verdict))


def _evidence(**changes: Any) -> Evidence:
    """One order that was refunded 3.00, as it should look."""
    expected = Expected(order_id="A", kind="refunded", ends="complete", captures=1, refunds=1, refunded="3.00")
    book = NOTHING | {"checkouts": 1, "orders": 1, "captures": 1, "refunds": 1}
    book |= {"authorized": "9.00", "captured": "9.00", "refunded": "3.00"}
    amounts = {"captured": "9.00", "cancelled": "0.00", "refunded": "3.00"}
    change = {"type": "order.state_changed", "data": {"order_id": "A", "sequence": 1}}
    command = {"command": "create_refund", "command_id": "c", "order_id": "A"}
    good = Evidence(
        expected=[expected],
        books={"A": book},
        orders={"A": {"state": "complete", "amounts": amounts, "attention": []}},
        changes=[(1.0, change)],
        commands=[(1.0, command)],
        outcomes=[(2.0, {"command_id": "c", "result": "confirmed"})],
        letters=[],
        made={"refunds": {"c": ["re_1"]}},
        checkouts_left={},
    )
    return msgspec.structs.replace(good, **changes)


def test_the_judge_finds_nothing_where_nothing_is_wrong() -> None:
    """What was asked for is what took effect."""
    verdict = judge(_evidence())
    assert verdict.good
    assert (verdict.left, verdict.commands, verdict.outcomes) == ([], {"create_refund": 1}, {"confirmed": 1})


@pytest.mark.parametrize("name", COUNTED)
def test_the_judge_sees_one_effect_more_and_one_less(name: str) -> None:
    """Each count of the books is held against what was asked for."""
    book = _evidence().books["A"]
    more = judge(_evidence(books={"A": book | {name: book[name] + 1}}))
    assert more.doubled == [f"A (refunded): {book[name] + 1} {name}, {book[name]} asked for"]
    less = judge(_evidence(books={"A": book | {name: book[name] - 1}}))
    assert less.missing == [f"A (refunded): {book[name] - 1} {name}, {book[name]} asked for"]
    assert not more.good
    assert not less.good


def test_the_judge_sees_two_effects_of_one_command() -> None:
    """Also where the books cannot: a failed refund and its second try count as one there."""
    verdict = judge(_evidence(made={"refunds": {"c": ["re_1", "re_2"]}}))
    assert verdict.doubled == ["A: 2 refunds by command c: re_1 re_2"]


def test_the_judge_sees_money_that_was_paid_too_often() -> None:
    """The sum that was asked for is the sum that was paid back."""
    book = _evidence().books["A"] | {"refunded": "6.00"}
    assert judge(_evidence(books={"A": book})).doubled == ["A (refunded): 6.00 paid back for 3.00"]


@pytest.mark.parametrize("outcomes", [[], [(2.0, {"command_id": "c", "result": "unknown"})]])
def test_what_stays_unknown_is_excused_only_where_a_person_is_called(
    outcomes: list[tuple[float, dict[str, str]]],
) -> None:
    """Without ``attention`` it went unseen; with it a missing effect is left to that person, a doubled one is not."""
    evidence = _evidence(outcomes=outcomes)
    waiting = {"A": evidence.orders["A"] | {"internal": {"commands": [{"command_id": "c"}]}}}
    assert judge(evidence).good  # a webhook told, and nobody waits for it any more
    assert len(judge(msgspec.structs.replace(evidence, orders=waiting)).unseen) == 1
    stuck = {"A": evidence.orders["A"] | {"state": "placing"}}
    assert len(judge(msgspec.structs.replace(evidence, orders=stuck)).unseen) == 1
    called = {"A": evidence.orders["A"] | {"attention": ["create_refund: its outcome could not be found out"]}}
    seen = judge(msgspec.structs.replace(evidence, orders=called))
    assert seen.good
    book = evidence.books["A"]
    missing = judge(msgspec.structs.replace(evidence, orders=called, books={"A": book | {"refunds": 0}}))
    assert missing.good
    assert missing.left == ["A (refunded): 0 refunds, 1 asked for"]
    doubled = judge(msgspec.structs.replace(evidence, orders=called, books={"A": book | {"refunds": 2}}))
    assert not doubled.good


def test_the_judge_sees_what_was_not_deleted_and_what_did_not_end() -> None:
    """A checkout that is left over, an order in another state, a dead letter, a gap in a sequence, money that differs."""
    evidence = _evidence()
    order = evidence.orders["A"]
    assert judge(_evidence(checkouts_left={"A": ["chk"]})).missing == ["A (refunded): checkouts not deleted: chk"]
    assert len(judge(_evidence(orders={"A": order | {"state": "fulfilled"}})).missing) == 1
    assert judge(_evidence(letters=["A: dead letter"])).wrong == ["A: dead letter"]
    change = (2.0, {"type": "order.state_changed", "data": {"order_id": "A", "sequence": 3}})
    assert judge(_evidence(changes=[*evidence.changes, change])).wrong == ["A: sequence 3 after 1"]
    less = order | {"amounts": order["amounts"] | {"refunded": "0.00"}}
    assert len(judge(_evidence(orders={"A": less})).wrong) == 1


def test_the_same_seed_makes_the_same_histories_of_every_kind() -> None:
    """A run can be made again; none of its kinds is left out, and it takes the commands that were asked for."""
    one, two = ([(history.expected, history.commands) for history in make_histories(2_000, seed)] for seed in (3, 3))
    assert one == two
    assert {expected.kind for expected, _ in one} == set(KINDS)
    assert 2_000 <= sum(commands.total() for _, commands in one) < 2_010


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("proxy"),
        pytest.param(
            "namespace", marks=pytest.mark.skipif(not can_have_namespaces(), reason="needs root and network namespaces")
        ),
    ],
)
async def test_a_cut_network_answers_nothing_and_comes_back(kind: Kind, tmp_path: Path) -> None:
    """While it is cut a request gets no answer and no error; afterwards new ones pass."""
    async with open_network(kind, tmp_path) as network:
        given = {
            "host": network.far_host,
            "webhook_url": "http://127.0.0.1:9/webhooks",
            "seed": 1,
            "late_effect_s": (1, 2),
            "log": str(tmp_path / "river.jsonl"),
        }
        script = Path(__file__).with_name("river_main.py")
        river = await Child.start(tmp_path / "river.log", *network.far_command, *python(script, given))
        try:
            address = str((await river.next_report())["url"]).removeprefix("http://").rsplit(":", 1)
            host, port = await network.reach(address[0], int(address[1]))
            assert await _asked(host, port) == b"HTTP/1.1 200 OK"
            await network.cut()
            with pytest.raises(TimeoutError):
                await _asked(host, port)
            await network.restore()
            assert await _asked(host, port) == b"HTTP/1.1 200 OK"
        finally:
            await river.end()


async def _asked(host: str, port: int) -> bytes:
    """The first line of an answer, within a second."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /_admin/books HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await reader.readline()).strip()
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await asyncio.wait_for(writer.wait_closed(), 1.0)
