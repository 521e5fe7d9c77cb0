"""``orderflow reconcile``: orders compared with Digital River's, differences absorbed, and what nobody here asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from orderflow.cli.outcome import CommandError, NotFound, run, settings_or_usage
from orderflow.cli.output import out, print_json, quiet_libraries, talk
from orderflow.cli.parameters import MOMENT, reason_text
from orderflow.cli.reconciling.backfilling import reads_per_second
from orderflow.screen import counted

if TYPE_CHECKING:
    from orderflow.operations.operator_events import ActResult
    from orderflow.reconciliation.comparing import Comparison, UnknownOrder
    from orderflow.settings import Settings
    from statemachine.order.order import Order


@click.command(epilog="Example: orderflow reconcile --order A-1001 --apply")
@click.option("--order", "order_ids", multiple=True, help="Only this order; may be repeated.")
@click.option("--all", "all_orders", is_flag=True, help="Orders that wait for nothing at Digital River, too.")
@click.option(
    "--since", type=MOMENT, default="30d", show_default=True, help="Orders made there since then must be known here."
)
@click.option("--rate", type=click.FloatRange(0), help="Requests a second; 0: no limit.  [default: a tenth of all]")
@click.option("--apply", "apply_it", is_flag=True, help="Refresh the orders that differ; without it only show them.")
@click.option(
    "--reason", default="reconciliation", show_default=True, callback=reason_text, help="Why, kept in the changes."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, one for each difference.")
def reconcile(as_json: bool, apply_it: bool, **options: Any) -> None:
    """Compare orders with Digital River's, and absorb the differences.

    Each order that waits for Digital River is read there and decided as if the read were news: what that would change is shown,
    and with --apply the order is refreshed. Orders at Digital River that nobody here asked for are shown, too: a person must look
    at those. Exit code 1 when something differs that was not absorbed.
    """
    quiet_libraries()
    settings = settings_or_usage()
    left = run(_reconcile(settings, apply_it=apply_it, as_json=as_json, **options))
    if left:
        raise CommandError(left)


async def _reconcile(
    settings: Settings,
    *,
    order_ids: tuple[str, ...],
    all_orders: bool,
    since: datetime,
    rate: float | None,
    apply_it: bool,
    reason: str,
    as_json: bool,
) -> str | None:
    """What is left to do, in a line."""
    from orderflow.providers import load_provider, recent_of
    from orderflow.reconciliation.comparing import Comparer, unknown_here

    per_second = reads_per_second(settings, rate)
    orders = await _orders(settings)
    chosen = _chosen(orders, order_ids, all_orders=all_orders)
    differing: list[Comparison] = []
    unasked: list[UnknownOrder] = []
    async with load_provider(settings) as provider:
        comparer = Comparer(provider, settings.policy(), per_second=per_second)
        for order in chosen:
            found = await comparer.compare(order, datetime.now(UTC))
            if found.differs:
                differing.append(found)
                _show(found, as_json=as_json)
        recent = None if order_ids else recent_of(provider, per_second=per_second)
        if recent is not None:
            async for remote in recent.orders(since):
                found_there = unknown_here(remote, orders)
                if found_there is not None:
                    unasked.append(found_there)
                    _show(found_there, as_json=as_json)
        elif not order_ids:
            missing = f"the provider {settings.provider} has no list of orders"
            talk().print(f"{missing}: those that nobody here asked for are not found", markup=False)
    talk().print(f"{counted(len(chosen), 'order')} compared, {len(differing)} differ")
    failed = 0
    if apply_it:
        async for result in _refreshed(settings, [one for one in differing if not one.unknown], reason):
            failed += result.verdict in ("refused", "pending")
            if not as_json:
                out().print(f"{result.order_id}  {result.event} {result.verdict}", markup=False)
    return _left(differing, unasked, failed, apply_it=apply_it)


def _left(differing: list[Comparison], unasked: list[UnknownOrder], failed: int, *, apply_it: bool) -> str | None:
    unknown = sum(one.unknown for one in differing)
    texts = []
    if len(differing) > unknown and not apply_it:
        texts.append(f"{counted(len(differing) - unknown, 'order')} differ; repeat with --apply to refresh them")
    if failed:
        texts.append(f"{counted(failed, 'order')} not refreshed: refused, or no worker decided it")
    if unknown:
        texts.append(f"{counted(unknown, 'order')} not known at Digital River")
    if unasked:
        texts.append(f"{counted(len(unasked), 'order')} at Digital River that nobody here asked for")
    return "; ".join(texts) or None


async def _orders(settings: Settings) -> dict[str, Order]:
    """Every order that can be read."""
    from consumers.group.table_reader import read_table
    from producers.topics import Topic
    from statemachine.errors import InvariantBroken
    from statemachine.order.snapshot import decode_snapshot

    orders = {}
    for name, value in (await read_table(settings.connection(), settings.topic_prefix, Topic.ORDERS)).items():
        try:
            orders[name] = decode_snapshot(value)
        except InvariantBroken:
            talk().print(f"orders: the record of {name} is not a snapshot of an order", markup=False)
    return orders


def _chosen(orders: dict[str, Order], order_ids: tuple[str, ...], *, all_orders: bool) -> list[Order]:
    for order_id in order_ids:
        if order_id not in orders:
            raise NotFound(f"there is no order {order_id}")
        if orders[order_id].digital_river.order_id is None:
            raise CommandError(f"order {order_id} has no order at Digital River")
    return [
        order
        for name, order in orders.items()
        if order.digital_river.order_id is not None
        and (name in order_ids if order_ids else all_orders or order.look is not None)
    ]


async def _refreshed(settings: Settings, differing: list[Comparison], reason: str) -> AsyncIterator[ActResult]:
    from orderflow.operations.operator_events import Act, follow_act, send_act
    from orderflow.settings import operator_of
    from producers.publisher import Publisher

    connection, prefix, actor = settings.connection(), settings.topic_prefix, operator_of(settings)
    sent = []
    async with Publisher(connection) as publisher:
        for one in differing:
            act = Act("refreshed", one.order_id)
            sent.append(await send_act(connection, prefix, publisher, act, actor=actor, reason=reason))
    for asked in sent:
        yield await follow_act(connection, prefix, asked, kind="refreshed", seconds=_WAIT.total_seconds())


#: How long the order lane may take to decide a refresh.
_WAIT = timedelta(seconds=15)


def _show(found: Comparison | UnknownOrder, *, as_json: bool) -> None:
    from orderflow.reconciliation.comparing import UnknownOrder

    if as_json:
        print_json(found)
    elif isinstance(found, UnknownOrder):
        out().print(
            f"{found.dr_order_id}  {found.state}, upstreamId {found.upstream_id or 'none'}: {found.why}", markup=False
        )
    elif found.unknown:
        out().print(f"{found.order_id}  {found.state}: Digital River does not know {found.dr_order_id}", markup=False)
    else:
        moved = f"{found.state} -> {found.becomes}" if found.becomes != found.state else found.state
        out().print(f"{found.order_id}  {moved}: {', '.join(found.differences)}", markup=False)
        for reason in found.attention:
            out().print(f"    attention: {reason}", markup=False)
