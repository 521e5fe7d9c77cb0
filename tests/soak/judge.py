"""The judge, as a process: what was asked for, against Digital River's books, the orders, and the outcomes in the inbox.

The argument is a JSON object ``{bootstrap, prefix, url, folder, seconds}``. It asks nobody how it went: ``expected.jsonl`` is the
generator's, the books are the simulator's. It prints the verdict, a JSON object. Of each order that is not right it leaves
``<order>.trace`` in the folder: all that is known of it and of what was done to the workers and the network meanwhile, by time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aiohttp
import msgspec
from aiokafka import ConsumerRecord

from producers.topics import Topic, prefixed
from tests.lanes.kafka import read_all
from tests.soak.histories import Expected

Json = dict[str, Any]

COUNTED: Final = ("checkouts", "orders", "captures", "cancels", "refunds", "returns")
MONEY: Final = ("captured", "cancelled", "refunded")
#: Resources that carry the id of the command that made them.
MADE: Final = ("checkouts", "fulfillments", "refunds", "returns")
NOTHING: Final = dict.fromkeys(COUNTED, 0) | dict.fromkeys((*MONEY, "authorized"), "0.00")
#: What happened to workers and network is of interest for so long before and after, in seconds.
NEAR_SECONDS: Final = 15.0
TRACES_MAX: Final = 40
HEADERS: Final = {"Authorization": "Bearer sk_test_simulator"}


class Verdict(msgspec.Struct):
    """What the judge found; each entry names an order. All of the lists but ``left`` must be empty."""

    orders: int = 0
    #: Commands that were asked, by name, asked again or not; and what became of them in the end.
    commands: dict[str, int] = msgspec.field(default_factory=dict)
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)
    attempts: int = 0
    attention: int = 0
    doubled: list[str] = msgspec.field(default_factory=list)
    missing: list[str] = msgspec.field(default_factory=list)
    #: Outcomes that stayed unknown or never came, without ``attention``, on orders that wait for them or ended otherwise.
    unseen: list[str] = msgspec.field(default_factory=list)
    #: Anything else: dead letters, gaps in sequences, money that differs, orders in another state.
    wrong: list[str] = msgspec.field(default_factory=list)
    #: Effects that are missing because a command stayed unknown, and a person is called.
    left: list[str] = msgspec.field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing was doubled, nothing is missing, nothing went unseen."""
        return not (self.doubled or self.missing or self.unseen or self.wrong)


class Evidence(msgspec.Struct):
    """All that was read."""

    expected: list[Expected]
    books: dict[str, Json]
    orders: dict[str, Json]
    changes: list[tuple[float, Json]]
    commands: list[tuple[float, Json]]
    outcomes: list[tuple[float, Json]]
    letters: list[str]
    #: ``resource -> command id -> ids of what it made``.
    made: dict[str, dict[str, list[str]]]
    #: Checkouts that were neither ordered nor deleted, by order.
    checkouts_left: dict[str, list[str]]


def judge(evidence: Evidence) -> Verdict:
    """The verdict. Pure."""
    verdict = Verdict(orders=len(evidence.expected))
    last: dict[str, Json] = {}
    for _, outcome in evidence.outcomes:
        last[outcome["command_id"]] = outcome
    names = {command["command_id"]: command for _, command in evidence.commands}
    verdict.commands = dict(Counter(str(command["command"]) for command in names.values()))
    verdict.attempts = len(evidence.commands)
    verdict.outcomes = dict(Counter(str(outcome["result"]) for outcome in last.values()))
    verdict.attention = sum(bool(order.get("attention")) for order in evidence.orders.values())
    unknown = _judge_outcomes(verdict, evidence, names, last)
    for resource, by_command in evidence.made.items():
        for command_id, ids in by_command.items():
            if len(ids) > 1:
                order_id = str(names.get(command_id, {}).get("order_id"))
                verdict.doubled.append(f"{order_id}: {len(ids)} {resource} by command {command_id}: {' '.join(ids)}")
    for expected in evidence.expected:
        _judge_order(verdict, evidence, expected, unknown)
    verdict.wrong += evidence.letters
    verdict.wrong += _sequence_faults(evidence.changes)
    return verdict


def _judge_outcomes(
    verdict: Verdict, evidence: Evidence, names: dict[str, Json], last: dict[str, Json]
) -> frozenset[str]:
    """Each command has an outcome that is known, or its order calls a person; the orders that do for this reason."""
    calling = set()
    ends = {expected.order_id: expected.ends for expected in evidence.expected}
    for command_id, command in names.items():
        if command["command"] == "inquire":
            continue  # its outcome is that of the command it asks about, which is judged itself
        outcome = last.get(command_id)
        if outcome is not None and outcome["result"] != "unknown":
            continue
        order_id = str(command["order_id"])
        what = "no outcome" if outcome is None else "unknown"
        order = evidence.orders.get(order_id, {})
        if order.get("attention"):
            calling.add(order_id)
        elif order.get("state") != ends.get(order_id) or command_id in json.dumps(order.get("internal")):
            # else a webhook told what became of it, and nobody waits for its outcome
            verdict.unseen.append(f"{order_id}: {what} of {command['command']} {command_id} without attention")
    return frozenset(calling)


def _judge_order(verdict: Verdict, evidence: Evidence, expected: Expected, unknown: frozenset[str]) -> None:
    order_id = expected.order_id
    book, order = evidence.books.get(order_id, NOTHING), evidence.orders.get(order_id, {})
    missing: list[str] = []
    for name in COUNTED:
        wanted, found = getattr(expected, name), book[name]
        if found > wanted:
            verdict.doubled.append(f"{order_id} ({expected.kind}): {found} {name}, {wanted} asked for")
        elif found < wanted:
            missing.append(f"{found} {name}, {wanted} asked for")
    if expected.refunded is not None and Decimal(book["refunded"]) > Decimal(expected.refunded):
        verdict.doubled.append(f"{order_id} ({expected.kind}): {book['refunded']} paid back for {expected.refunded}")
    if expected.orders and Decimal(book["captured"]) + Decimal(book["cancelled"]) != Decimal(book["authorized"]):
        missing.append(f"captured {book['captured']} and cancelled {book['cancelled']} of {book['authorized']}")
    if left := evidence.checkouts_left.get(order_id):
        missing.append(f"checkouts not deleted: {' '.join(left)}")
    state = order.get("state")
    if state != expected.ends:
        missing.append(f"ended in {state}, not {expected.ends}; attention {order.get('attention')}")
    elif amounts := {name: order["amounts"][name] for name in MONEY if order["amounts"][name] != book[name]}:
        verdict.wrong.append(f"{order_id}: the order says {amounts}, the books {[book[name] for name in amounts]}")
    where = verdict.left if order_id in unknown else verdict.missing
    where += [f"{order_id} ({expected.kind}): {one}" for one in missing]


def _sequence_faults(changes: Iterable[tuple[float, Json]]) -> list[str]:
    found, last = [], defaultdict[str, int](int)
    for _, event in changes:
        data = event["data"]
        order_id = str(data["order_id"])
        if event["type"] != "order.state_changed":
            found.append(f"{order_id}: {event['type']}: {data.get('reason')} {data.get('detail')}")
            continue
        if data["sequence"] != last[order_id] + 1:
            found.append(f"{order_id}: sequence {data['sequence']} after {last[order_id]}")
        last[order_id] = data["sequence"]
    return found


async def gather(bootstrap: str, prefix: str, url: str, folder: Path) -> Evidence:
    """Read everything."""
    expected = [
        msgspec.json.decode(line, type=Expected) for line in (folder / "expected.jsonl").read_bytes().splitlines()
    ]
    read = {topic: await read_all(bootstrap, prefixed(prefix, topic)) for topic in _READ}
    orders = {(record.key or b"").decode(): json.loads(record.value) for record in read[Topic.ORDERS] if record.value}
    outcomes = _timed(read[Topic.INBOX])
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/_admin/books") as answer:
            books = await answer.json()
        listed = {name: await _list(session, url, name) for name in (*MADE, "orders")}
    made: dict[str, dict[str, list[str]]] = {name: {} for name in MADE}
    for name in MADE:
        for item in listed[name]:
            command_id = (item.get("metadata") or {}).get("command_id")
            if command_id is not None:
                made[name].setdefault(command_id, []).append(item["id"])
    ordered, left = {order["checkoutId"] for order in listed["orders"]}, defaultdict[str, list[str]](list)
    for checkout in listed["checkouts"]:
        if checkout["id"] not in ordered:
            left[checkout["upstreamId"]].append(checkout["id"])
    return Evidence(
        expected=expected,
        books=books,
        orders=orders,
        changes=_timed(read[Topic.ORDER_STATE_CHANGES]),
        commands=[(at, event["data"]) for at, event in _timed(read[Topic.DR_COMMANDS])],
        outcomes=[
            (at, event["data"] | {"type": event["type"]}) for at, event in outcomes if "command_id" in event["data"]
        ],
        letters=[
            f"{(record.key or b'').decode()}: dead letter: {dict(record.headers).get('orderflow-detail')!r}"
            for record in read[Topic.DEAD_LETTERS]
        ],
        made=made,
        checkouts_left=left,
    )


def _timed(records: Iterable[ConsumerRecord]) -> list[tuple[float, Json]]:
    """Records with their times, in the order of their partitions and offsets."""
    return [(record.timestamp / 1000, json.loads(record.value)) for record in records]


_READ: Final = (Topic.ORDERS, Topic.ORDER_STATE_CHANGES, Topic.DR_COMMANDS, Topic.INBOX, Topic.DEAD_LETTERS)


async def _list(session: aiohttp.ClientSession, url: str, name: str) -> list[Json]:
    """All resources of a kind."""
    found: list[Json] = []
    after = ""
    while True:
        async with session.get(f"{url}/{name}?limit=100{after}", headers=HEADERS) as answer:
            answer.raise_for_status()
            page = await answer.json()
        found += page["data"]
        if not page["hasMore"]:
            return found
        after = f"&startingAfter={found[-1]['id']}"


def write_traces(verdict: Verdict, evidence: Evidence, folder: Path) -> None:
    """What is known of each order that is not right."""
    named = (*verdict.doubled, *verdict.missing, *verdict.unseen, *verdict.wrong, *verdict.left)
    order_ids = list(dict.fromkeys(one.split()[0].rstrip(":") for one in named))[:TRACES_MAX]
    requests = [json.loads(line) for line in (folder / "river.jsonl").read_text().splitlines()]
    done = [json.loads(line) for line in (folder / "chaos.jsonl").read_text().splitlines()]
    for order_id in order_ids:
        lines = [(at, f"command  {_described(one)}") for at, one in evidence.commands if one["order_id"] == order_id]
        ids = {one["command_id"] for _, one in evidence.commands if one["order_id"] == order_id}
        lines += [(at, f"outcome  {_described(one)}") for at, one in evidence.outcomes if one["command_id"] in ids]
        river = {*ids, *(name for by in evidence.made.values() for one in ids for name in by.get(one, ()))}
        remote = evidence.orders.get(order_id, {}).get("digital_river") or {}
        river |= {str(value) for value in remote.values() if isinstance(value, str)}
        for one in requests:
            if any(name in one["request"] or name in one["body"] for name in river):
                detail = f"{one['request']} answered {one['status']} after {one['ended'] - one['at']:.2f} s"
                lines.append((one["at"], f"request  {detail} {one['body'][-160:]}"))
        for at, event in evidence.changes:
            data = event["data"]
            if data["order_id"] == order_id:
                cause = (data.get("cause") or {}).get("type")
                lines.append((at, f"change   {data.get('from')} > {data.get('to')} by {cause} {data.get('attention')}"))
        if lines:
            first, last = min(lines)[0], max(lines)[0]
            lines += [
                (one["at"], f"         {one['what']}")
                for one in done
                if first - NEAR_SECONDS < one["at"] < last + NEAR_SECONDS
            ]
        text = [one for one in named if one.split()[0].rstrip(":") == order_id]
        text += [
            f"{datetime.fromtimestamp(at, UTC):%H:%M:%S.%f} {line}" for at, line in sorted(lines, key=itemgetter(0))
        ]
        (folder / f"{order_id}.trace").write_text("\n".join(text) + "\n")


def _described(one: Json) -> str:
    names = ("command", "result", "command_id", "attempt", "inquired_by", "tries", "status", "problem")
    return " ".join(f"{name}={one[name]}" for name in names if one.get(name) is not None)


async def main(given: Json) -> None:
    """Judge, and judge again while what happened may not be told yet."""
    folder = Path(given["folder"])
    loop = asyncio.get_running_loop()
    until = loop.time() + float(given["seconds"])
    while True:
        evidence = await gather(given["bootstrap"], given["prefix"], given["url"], folder)
        verdict = judge(evidence)
        if verdict.good or verdict.doubled or loop.time() > until:
            break
        await asyncio.sleep(2.0)
    write_traces(verdict, evidence, folder)
    sys.stdout.buffer.write(msgspec.json.encode(verdict) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
