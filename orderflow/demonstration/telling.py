"""What the demo shows: progress, the orders by state, one order's story, the books, and where to go next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orderflow.demonstration.watching import Change, Watch

#: The order in which states are shown: as an order goes through them.
_STATES: Final = (
    "awaited", "checkout_pending", "checkout_open", "checkout_ready", "placing", "pending_payment", "in_review",
    "submitted", "fulfilled", "complete", "declined", "cancelled",
)  # fmt: skip

_SENDERS: Final = {
    "checkout-events": "storefront",
    "order-events": "storefront",
    "fulfillment-events": "warehouse",
    "orderflow.inbox": "Digital River",
    "dr-webhooks": "Digital River",
    "catalog-events": "catalogue",
}

#: Width of what does not go to a terminal.
FILE_WIDTH: Final = 120

NEXT: Final = """\
Where to go next
  orderflow --help            all commands, each with an example
  orderflow settings          what can be set, and what it is set to
  docker compose up --wait    the same on Apache Kafka; then: orderflow events send FILE
  README.md                   how it works, your own Kafka, where everything is"""


def progress(watch: Watch, done: int, total: int) -> RenderableType:
    """The picture while it runs: a bar, and how many orders are in each state."""
    table = Table(box=None, pad_edge=False, show_header=False)
    states = watch.states()
    for state in _ordered(states):
        table.add_row(state, str(states[state]), Text("█" * states[state], style="cyan"))
    head = Table(box=None, pad_edge=False, show_header=False)
    changes = sum(len(known) for known in watch.changes.values())
    head.add_row(
        f"{watch.seconds:4.1f} s", ProgressBar(total, done, width=40), f"{done} of {total} orders", f"{changes} changes"
    )
    return Group(head, table)


def progress_line(watch: Watch, done: int, total: int) -> str:
    """The same as one line, where there is no terminal."""
    states = watch.states()
    counts = ", ".join(f"{state} {states[state]}" for state in _ordered(states))
    return f"{watch.seconds:5.1f} s  {done:3} of {total} orders done   {counts}"


def orders_by_state(watch: Watch) -> RenderableType:
    """How many orders ended in which state, and their money."""
    table = Table(
        "state", "orders", "ordered", "captured", title="Orders by state", title_justify="left", box=SIMPLE_HEAD
    )
    for column in table.columns[1:]:
        column.justify = "right"
    ended = [(changes[-1].state, _amounts(changes)) for changes in watch.changes.values()]
    for state in _ordered(Counter(state for state, _ in ended)):
        of_state = [amounts for found, amounts in ended if found == state]
        table.add_row(state, str(len(of_state)), _sum(of_state, "total"), _sum(of_state, "captured"))
    return table


def story(order_id: str, title: str, changes: Sequence[Change]) -> RenderableType:
    """One order, event by event."""
    table = Table(
        "#", "after", "from", "event", "state", "what changed beside it",
        title=f"The story of {order_id}: {title}", title_justify="left", box=SIMPLE_HEAD,
    )  # fmt: skip
    table.columns[1].justify = "right"
    for column in table.columns[:5]:
        column.no_wrap = True
    before, began = "", changes[0].seen
    for change in changes:
        (sender, event), state = cause_of(change), change.state
        table.add_row(
            str(change.data["sequence"]),
            f"{change.seen - began:.2f} s",
            sender,
            event,
            Text(state, style="bold") if state != before else Text("·"),
            ", ".join(beside(change.data)),
        )
        before = state
    return table


def sender_of(topic: str) -> str:
    """Who writes into a topic, in a word; without a topic it is the clock."""
    return _SENDERS.get(topic, "the clock")


def cause_of(change: Change) -> tuple[str, str]:
    """Who caused a change, and by what."""
    cause = change.data["cause"]
    return sender_of(cause.get("topic") or ""), cause["type"].removeprefix("digitalriver.")


def books_compared(watch: Watch, books: Mapping[str, Mapping[str, Any]]) -> tuple[bool, str]:
    """Whether Digital River's books say what the orders say, and a line about it."""
    wrong = []
    for order_id, changes in watch.changes.items():
        entry, amounts = books.get(order_id, {}), _amounts(changes)
        same = all(
            Decimal(entry.get(name, "0")) == Decimal(amounts.get(name, "0"))
            for name in ("captured", "cancelled", "refunded")
        )
        if not same or entry.get("orders", 0) > 1:
            wrong.append(order_id)
    captured = sum((Decimal(entry["captured"]) for entry in books.values()), Decimal(0))
    if wrong:
        return False, f"Digital River's books differ for {', '.join(sorted(wrong))}"
    placed = sum(int(entry["orders"]) for entry in books.values())
    return True, f"Digital River's books agree to the cent: {placed} orders placed, each once; {captured} USD captured."


def show(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print parts with a line between."""
    for part in parts:
        console.print(part)


def _ordered(states: Counter[str]) -> list[str]:
    return [state for state in _STATES if states[state]] + sorted(state for state in states if state not in _STATES)


def _amounts(changes: Sequence[Change]) -> Mapping[str, str]:
    amounts: Mapping[str, str] = changes[-1].data["amounts"]
    return amounts


def _sum(amounts: Iterable[Mapping[str, str]], name: str) -> str:
    return f"{sum((Decimal(entry[name]) for entry in amounts), Decimal(0)):,.2f}"


def beside(data: Mapping[str, Any]) -> Iterable[str]:
    """What changed beside the state, in a few words."""
    changed = data["changed"]
    if "payment" in changed:
        yield f"payment {data['payment']}"
    if "amounts" in changed:
        amounts = data["amounts"]
        moved = [f"{name} {amounts[name]}" for name in ("captured", "cancelled", "refunded") if Decimal(amounts[name])]
        if moved:
            yield ", ".join(moved)
        elif Decimal(amounts["total"]):
            yield f"total {amounts['total']} {amounts['currency']}"
    if "lines" in changed and "shipments" in changed:
        count = len(data["shipments"])
        yield "1 parcel" if count == 1 else f"{count} parcels"
    for name in ("refunds", "returns"):
        if name in changed:
            yield f"{name} {', '.join(sorted(one['state'] for one in data[name]))}"
    if "problem" in data:
        yield f"problem {data['problem']['code']}"
    if data.get("attention"):
        yield f"attention: {data['attention'][-1]}"
