"""``orderflow simulator funds|review|dispute|capture``: what shoppers, banks and reviewers do to one order."""

from __future__ import annotations

from typing import Literal

import click

from orderflow.cli.simulator.asking import ask, asking_options, tell


@click.command(epilog="Example: orderflow simulator funds A-1001")
@click.argument("order")
@click.option("--never", is_flag=True, help="The money never comes: the payment fails, and the order is cancelled.")
@asking_options
def funds(order: str, never: bool, url: str | None, as_json: bool) -> None:
    """Let the money of a pending ORDER come, as of a bank transfer or after a redirect.

    ORDER is the order's id, or Digital River's. An order that waits for no money stays as it is.
    """
    answer = ask(url, "POST", "orders/{}/payment", {"received": not never}, order=order)
    document = {"order": order, "received": not never, "state": answer["state"]}
    tell(
        document, f"{order}: {'no money comes' if never else 'the money is there'}; {answer['state']}", as_json=as_json
    )


@click.command(epilog="Example: orderflow simulator review A-1001 block")
@click.argument("order")
@click.argument("decision", type=click.Choice(["pass", "block"]))
@asking_options
def review(order: str, decision: Literal["pass", "block"], url: str | None, as_json: bool) -> None:
    """Decide the fraud review of ORDER now: pass it, or block the order.

    ORDER is the order's id, or Digital River's. An order that is not in review stays as it is.
    """
    answer = ask(url, "POST", "orders/{}/review", {"passed": decision == "pass"}, order=order)
    tell(
        {"order": order, "decision": decision, "state": answer["state"]}, f"{order}: {answer['state']}", as_json=as_json
    )


@click.command(epilog="Example: orderflow simulator dispute A-1001 chargeback --amount 12.00")
@click.argument("order")
@click.argument("action", type=click.Choice(["open", "resolve", "chargeback"]))
@click.option("--amount", metavar="AMOUNT", help="With chargeback: how much the bank takes back, such as 12.00.")
@click.option(
    "--as-accepted", is_flag=True, help="With resolve: the event shows the order as accepted, as Digital River's did."
)
@asking_options
def dispute(
    order: str,
    action: Literal["open", "resolve", "chargeback"],
    amount: str | None,
    as_accepted: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Let the bank open a dispute of ORDER, end it, or take money back.

    ORDER is the order's id, or Digital River's.
    """
    if (amount is None) == (action == "chargeback"):
        raise click.UsageError("--amount goes with chargeback, which needs it")
    if as_accepted and action != "resolve":
        raise click.UsageError("--as-accepted goes with resolve")
    body: dict[str, object] = {"action": action, "as_accepted": as_accepted}
    if amount is not None:
        body["amount"] = amount
    answer = ask(url, "POST", "orders/{}/dispute", body, order=order)
    tell({"order": order, "action": action, "state": answer["state"]}, f"{order}: {answer['state']}", as_json=as_json)


@click.command(epilog="Example: orderflow simulator capture A-1001 fail")
@click.argument("order")
@click.argument("end", type=click.Choice(["complete", "fail"]))
@asking_options
def capture(order: str, end: Literal["complete", "fail"], url: str | None, as_json: bool) -> None:
    """End all captures of ORDER that are not complete: those that are pending, stuck, or have failed.

    ORDER is the order's id, or Digital River's. A capture that failed is tried again later by itself, as its method says.
    """
    body = {"end": "complete" if end == "complete" else "failed"}
    answer = ask(url, "POST", "orders/{}/captures", body, order=order)
    document = {"order": order, "ended": answer["ended"], "state": answer["state"]}
    tell(document, f"{order}: {answer['ended']} captures ended; {answer['state']}", as_json=as_json)
