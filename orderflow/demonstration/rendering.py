"""What the demo prints: progress, orders by state, one order's story, the books, and where to go next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orderflow.demonstration.expectations import ObservedOrder
from orderflow.demonstration.watch import ObservedChange, OrderWatch
from orderflow.screen import counted

#: States in the order in which an order goes through them.
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

#: Width of output that does not go to a terminal.
FILE_WIDTH: Final = 120
#: From this width on, changes other than the state have their own column.
WIDE: Final = 105
#: From this width on names are never wrapped.
_USUAL: Final = 80

#: Length of the bar of a state that all orders are in, and the least room that the bar of progress is shown in.
_STATE_BAR: Final = 40
_BAR_MIN: Final = 8

#: Amounts that are shown when they change.
_MONEY: Final = ("captured", "cancelled", "refunded", "charged_back")

NEXT: Final = """\
Where to go next
  orderflow --help            all commands, each with an example
  orderflow settings          what can be set, and what it is set to
  docker compose up --wait    on Apache Kafka; then: orderflow events send FILE
  README.md                   how it works, your own Kafka, where everything is"""


def progress(watch: OrderWatch, done: int, total: int, *, width: int) -> RenderableType:
    """Progress on a terminal: a bar where there is room, and how many orders are in each state."""
    table = Table(box=None, pad_edge=False, show_header=False)
    states = watch.states()
    for state in _ordered(states):
        length = -(-states[state] * _STATE_BAR // max(total, _STATE_BAR))
        table.add_row(state, str(states[state]), Text("█" * length, style="cyan", overflow="crop", no_wrap=True))
    head = Table(box=None, pad_edge=False, show_header=False)
    changes = sum(len(known) for known in watch.changes.values())
    before, after = f"{watch.seconds:4.1f} s", (f"{done} of {total} orders", f"{changes} changes")
    room = width - len(before) - sum(map(len, after)) - 3
    bar = [ProgressBar(total, done, width=min(40, room))] if room >= _BAR_MIN else []
    head.add_row(before, *bar, *after)
    return Group(head, table)


def progress_line(watch: OrderWatch, done: int, total: int, *, width: int) -> str:
    """Progress as one line, without a terminal; states with the fewest orders are counted together where it is too long."""
    head = f"{watch.seconds:5.1f} s  {done:3} of {total} orders done"
    states = watch.states()
    shown = _ordered(states)
    while shown:
        counts = [f"{state} {states[state]}" for state in shown]
        others = states.total() - sum(states[state] for state in shown)
        line = f"{head}   {', '.join([*counts, *([f'others {others}'] if others else [])])}"
        if len(line) <= width:
            return line
        shown.remove(min(shown, key=states.__getitem__))
    return head


def orders_by_state(watch: OrderWatch) -> RenderableType:
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


def story(order_id: str, title: str, changes: Sequence[ObservedChange], *, width: int) -> RenderableType:
    """One order, event by event, readable in ``width`` columns."""
    last = ("state", "other changes") if width >= WIDE else ("what changed",)
    table = Table(
        "#", "after", "from", "event", *last, title=f"The story of {order_id}: {title}", title_justify="left",
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.columns[0].justify = table.columns[1].justify = "right"
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[:-1]:
        column.no_wrap = width >= _USUAL
    observed, began = ObservedOrder(), changes[0].seen
    for change in changes:
        sender, event = cause_of(change)
        cells = state_and_other_changes(change, observed) if width >= WIDE else (stacked(change, observed),)
        table.add_row(str(change.data["sequence"]), f"{change.seen - began:.2f} s", sender, event, *cells)
        observed = observed.after(change.data)
    return table


def state_and_other_changes(change: ObservedChange, before: ObservedOrder) -> tuple[Text, Text]:
    """What changed, for two columns: the state, or a dot if unchanged, and the other changes."""
    return _state(change, before), Text(", ".join(other_changes(change.data, before)))


def stacked(change: ObservedChange, before: ObservedOrder) -> Text:
    """The same for one narrow column, one line each."""
    more = [Text(part) for part in other_changes(change.data, before)]
    return Text("\n").join(more if more and change.state == before.state else [_state(change, before), *more])


def _state(change: ObservedChange, before: ObservedOrder) -> Text:
    return Text("·") if change.state == before.state else Text(change.state, style="bold")


def sender_of(topic: str) -> str:
    """Who writes to a topic; without a topic it is the clock."""
    return _SENDERS.get(topic, "the clock")


def cause_of(change: ObservedChange) -> tuple[str, str]:
    """Who caused a change, and the event's type."""
    cause = change.data["cause"]
    return sender_of(cause.get("topic") or ""), cause["type"].removeprefix("digitalriver.")


def books_compared(watch: OrderWatch, books: Mapping[str, Mapping[str, Any]]) -> tuple[bool, str]:
    """Whether Digital River's books agree with the orders, and one line that says so."""
    wrong = []
    for order_id, changes in watch.changes.items():
        entry, amounts = books.get(order_id, {}), _amounts(changes)
        same = all(
            Decimal(entry.get(name, "0")) == Decimal(amounts.get(name, "0"))
            for name in ("captured", "cancelled", "refunded")  # the books do not contain chargebacks
        )
        if not same or entry.get("orders", 0) > 1:
            wrong.append(order_id)
    if wrong:
        return False, f"Digital River's books differ for {', '.join(sorted(wrong))}"
    placed = sum(int(entry["orders"]) for entry in books.values())
    captured = sum((Decimal(entry["captured"]) for entry in books.values()), Decimal(0))
    lost = sum((Decimal(_amounts(changes).get("charged_back", "0")) for changes in watch.changes.values()), Decimal(0))
    return True, (
        f"Digital River's books agree to the cent: {counted(placed, 'order')} placed, each once; {captured} USD captured"
        f"{f', {lost} charged back' if lost else ''}."
    )


def _ordered(states: Counter[str]) -> list[str]:
    return [state for state in _STATES if states[state]] + sorted(state for state in states if state not in _STATES)


def _amounts(changes: Sequence[ObservedChange]) -> Mapping[str, str]:
    amounts: Mapping[str, str] = changes[-1].data["amounts"]
    return amounts


def _sum(amounts: Iterable[Mapping[str, str]], name: str) -> str:
    return f"{sum((Decimal(entry[name]) for entry in amounts), Decimal(0)):,.2f}"


def money(amounts: Mapping[str, str], before: Mapping[str, str] | None = None) -> Iterator[str]:
    """The amounts other than the total that differ from ``before``, or from zero."""
    for name in _MONEY:
        amount = amounts.get(name, "0")
        if Decimal(amount) != Decimal((before or {}).get(name, "0")):
            yield f"{name.replace('_', ' ')} {amount}"


def other_changes(data: Mapping[str, Any], before: ObservedOrder) -> Iterator[str]:
    """What changed since ``before`` other than the state, in a few words."""
    changed, known = data["changed"], before.members
    if "payment" in changed:
        yield f"payment {data['payment']}"
    if "amounts" in changed:
        amounts, earlier = data["amounts"], known.get("amounts", {})
        if amounts["total"] != earlier.get("total") and Decimal(amounts["total"]):
            yield f"total {amounts['total']} {amounts['currency']}"
        yield from money(amounts, earlier)
    if "lines" in changed and "shipments" in changed:
        yield counted(len(data["shipments"]), "parcel")
    for name, key in (("refund", "refund_id"), ("return", "return_id")):
        states = {one[key]: one["state"] for one in known.get(f"{name}s", ())}
        for one in data.get(f"{name}s", ()):
            if states.get(one[key]) != one["state"]:
                yield f"{name} {one[key]} {one['state']}"
    if "problem" in data:
        yield f"problem {data['problem']['code']}"
    earlier_reasons = known.get("attention", ())
    for reason in data.get("attention", ()):
        if reason not in earlier_reasons:
            yield f"attention: {reason}"
