"""``orderflow orders``: the table of orders, as downstream consumers see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
import msgspec

from orderflow.cli.one_order.inspection import order_at
from orderflow.cli.outcome import NotFound, run, settings_or_usage
from orderflow.cli.output import out, print_json, print_table, quiet_libraries, talk
from orderflow.cli.parameters import MOMENT
from orderflow.screen import counted

#: The key of a snapshot that is the worker's own; it may hold an open command's personal data, so it is not shown.
_INTERNAL = "internal"


@click.group(epilog="Example: orderflow orders list --state submitted")
def orders() -> None:
    """Orders and what became of them."""


@orders.command("list", epilog="Example: orderflow orders list --state submitted --json | jq .order_id")
@click.option("--state", "states", multiple=True, help="Only orders in this state; may be repeated.")
@click.option("--attention", is_flag=True, help="Only orders that need attention.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
def list_orders(states: tuple[str, ...], attention: bool, as_json: bool) -> None:
    """List all orders, by order id."""
    _check_states(states)
    found = [
        order
        for order in _read()
        if (not states or order["state"] in states) and (not attention or order.get("attention"))
    ]
    if as_json:
        for order in found:
            print_json(order)
        return
    print_table(
        ("order", "state", "payment", "total#", "captured#", "refunded#", "changes#", "updated", "attention#"),
        [_row(order) for order in found],
        optional=("changes", "updated", "refunded", "captured", "payment", "total", "attention"),
    )
    talk().print(counted(len(found), "order"))


@orders.command("show", epilog="Example: orderflow orders show A-1001 --json")
@click.argument("order_id")
@click.option(
    "--at", "at", type=MOMENT, help="The order as it was then: 2031-03-04T10:11:12Z, or 2h for two hours ago."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show_order(order_id: str, at: datetime | None, as_json: bool) -> None:
    """One order: lines, money, shipments, deadlines, what is parked, and why it needs attention.

    With --at it is the snapshot that was there at that time, from what the topics still have: the events of the order are
    decided again as they were then. Exit code 5 when they do not reach back far enough, or when another version decided.
    """
    order = _newest(order_id) if at is None else order_at(order_id, at)
    if as_json:
        print_json(order)
    else:
        _print_order(order)


def _newest(order_id: str) -> dict[str, Any]:
    found = _read(order_id)
    if not found:
        raise NotFound(f"there is no order {order_id}")
    return found[0]


def _check_states(states: tuple[str, ...]) -> None:
    from typing import get_args

    from statemachine.order.order import State

    known = get_args(State)
    for state in states:
        if known and state not in known:
            raise click.BadParameter(f"{state} is not one of {', '.join(known)}", param_hint="--state")


def _read(order_id: str | None = None) -> list[dict[str, Any]]:
    """The orders of the topic ``orders`` without what is the worker's own."""
    from consumers.group.table_reader import read_table
    from producers.topics import Topic

    quiet_libraries()
    settings = settings_or_usage()
    table = run(read_table(settings.connection(), settings.topic_prefix, Topic.ORDERS, key=order_id))
    decoder = msgspec.json.Decoder(dict[str, Any])
    found = []
    for name, value in table.items():
        try:
            order = decoder.decode(value)
            _row(order)  # what is shown of it must be there
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            talk().print(f"orders: the record of {name} is not a snapshot of an order", markup=False)
            continue
        order.pop(_INTERNAL, None)
        found.append(order)
    return found


def _row(order: Mapping[str, Any]) -> tuple[str, ...]:
    amounts = order["amounts"]
    return (
        order["order_id"],
        order["state"],
        order["payment"],
        _money(amounts, "total"),
        _money(amounts, "captured"),
        _money(amounts, "refunded"),
        str(order["sequence"]),
        _moment(order.get("updated")),
        str(len(order["attention"]) or ""),
    )


def _money(amounts: Mapping[str, Any], name: str) -> str:
    return f"{amounts[name]} {amounts['currency']}" if amounts.get("currency") else ""


def _moment(text: object) -> str:
    """A time in RFC 3339 without its fraction of a second, and with a space where a person expects one."""
    return str(text)[:19].replace("T", " ") if text else ""


def _print_order(order: Mapping[str, Any]) -> None:
    """One order for a person: what is empty is left out."""
    amounts, remote = order["amounts"], order.get("digital_river") or {}
    console = out()
    console.print(f"[bold]{order['order_id']}[/bold]  {order['state']}, payment {order['payment']}")
    facts = [counted(order["sequence"], "change"), f"updated {_moment(order.get('updated'))}"]
    facts += [f"{name.replace('_', ' ')} {value}" for name, value in remote.items() if value]
    console.print(", ".join(facts), style="dim", markup=False)
    if order.get("held"):
        held = order["held"]
        since = _moment(held["since"])
        console.print(f"held since {since} by {held['actor']}: {held['reason']}", style="bold red", markup=False)
    for reason in order["attention"]:
        console.print(f"attention: {reason}", style="bold red", markup=False)
    if amounts.get("currency"):
        money = [(name.replace("_", " "), _money(amounts, name)) for name in amounts if name != "currency"]
        print_table(("money", "#"), money)
    _print_rows("lines", order["lines"], ("line", "sku_id", "ordered", "shipped", "cancelled", "returned"))
    _print_rows("shipments", order["shipments"], ("shipment_id", "fulfillment_id", "capture"))
    _print_rows("refunds", order["refunds"], ("refund_id", "state", "amount"))
    _print_rows("returns", order["returns"], ("return_id", "state"))
    _print_rows("documents", order["documents"], ("file_id", "purpose"))
    _print_rows("deadlines", order["deadlines"], ("name", "due"))
    _print_rows("parked", order["parked"], ("type", "since"))


def _print_rows(title: str, rows: object, columns: tuple[str, ...]) -> None:
    if not rows:
        return
    if isinstance(rows, Mapping):
        rows = [{columns[0]: name, **row} for name, row in rows.items()]
    assert isinstance(rows, list)
    times = {"due", "since"}
    print_table(
        columns,
        [
            [_moment(row.get(c)) if c in times else str(row.get(c) if row.get(c) is not None else "") for c in columns]
            for row in rows
        ],
        title=title,
    )
