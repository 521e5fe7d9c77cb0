"""What commands say of a provider that has less than Digital River."""

from __future__ import annotations

from tests.cli.command import Command


def test_backfill_says_in_a_line_that_there_is_no_list(orderflow: Command) -> None:
    """Before anything is read from Kafka."""
    orderflow.set(provider="examples.provider.ledger:make")
    result = orderflow("webhooks", "backfill", "--since", "1h")
    assert (result.exit_code, result.stdout) == (1, "")
    said = "orderflow: the provider examples.provider.ledger:make has no list of events: nothing can be fed again\n"
    assert result.stderr == said


def test_a_provider_that_cannot_be_loaded_ends_the_command_in_a_line(orderflow: Command) -> None:
    """The line names the setting."""
    orderflow.set(provider="examples.nothing:make")
    result = orderflow("webhooks", "backfill", "--since", "1h")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "orderflow: ORDERFLOW_PROVIDER: there is no module examples.nothing\n"
