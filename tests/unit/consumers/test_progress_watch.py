"""When a partition that gets nothing done becomes a problem that a person is told about."""

from __future__ import annotations

from consumers.ownership.progress_watch import ProgressWatch, RebalanceWatch
from statemachine.errors import BrokerUnavailable, TransactionAborted, TransactionOpen

AWAY = BrokerUnavailable("Kafka is not reachable")


def test_a_take_over_that_fails_for_long_is_reported() -> None:
    """Before the limit it is a warning that passes, from there on a line with partition, time and cause."""
    watch = ProgressWatch(3, 60.0)
    watch.begins(100.0)
    assert watch.failed(AWAY, 130.0, in_work=False) is None
    watch.begins(131.0)
    assert watch.failed(AWAY, 159.9, in_work=False) is None
    problem = watch.failed(AWAY, 172.0, in_work=False)
    assert problem == "partition 3: take-over fails for 72 s, retrying: Kafka is not reachable"


def test_an_open_transaction_is_reported_with_the_way_to_end_it() -> None:
    """A transaction that hangs never ends by itself, so the line names the tool that finds it."""
    watch = ProgressWatch(3, 60.0)
    watch.begins(0.0)
    problem = watch.failed(TransactionOpen("positions[3] is readable to 2 of 3 only"), 60.0, in_work=False)
    assert problem is not None
    assert "readable to 2 of 3 only" in problem
    assert "kafka-transactions.sh find-hanging" in problem


def test_a_take_over_ends_what_was_reported_of_take_overs_and_the_count_begins_anew() -> None:
    """The owner clears the problem only when there was one."""
    watch = ProgressWatch(3, 60.0)
    watch.begins(0.0)
    assert not watch.owned()
    watch.begins(0.0)
    watch.failed(AWAY, 61.0, in_work=False)
    assert watch.owned()
    watch.begins(500.0)
    assert watch.failed(AWAY, 510.0, in_work=False) is None


def test_transactions_that_fail_are_reported_although_every_take_over_between_them_succeeds() -> None:
    """Only something committed ends it."""
    watch = ProgressWatch(3, 60.0)
    refused = TransactionAborted("the record is too large")
    for now in range(0, 60, 10):
        watch.begins(float(now))
        assert not watch.owned()
        assert watch.failed(refused, now + 5.0, in_work=True) is None
    watch.begins(60.0)
    assert not watch.owned()
    problem = watch.failed(refused, 65.0, in_work=True)
    assert problem == "partition 3: no progress for 60 s, retrying: the record is too large"
    assert not watch.owned()
    assert watch.problem == problem
    assert watch.worked()
    assert watch.problem is None


def test_a_new_period_of_ownership_counts_anew() -> None:
    """What another owner did meanwhile is not a failure of ours."""
    watch = ProgressWatch(3, 60.0)
    watch.begins(0.0)
    watch.failed(AWAY, 61.0, in_work=False)
    watch.forget()
    watch.begins(62.0)
    assert (watch.problem, watch.failed(AWAY, 63.0, in_work=False)) == (None, None)


def test_a_group_that_is_rebalanced_again_and_again_is_reported_until_it_rests() -> None:
    """Two workers with one instance id take each other's partitions every second, and each single step succeeds."""
    watch = RebalanceWatch()
    for second in range(29):
        watch.assigned(float(second))
        assert watch.problem("orders", float(second)) is None
    watch.assigned(29.0)
    problem = watch.problem("orders", 29.0)
    assert problem is not None
    assert "group orders was rebalanced 30 times in 60 s" in problem
    assert "ORDERFLOW_GROUP_INSTANCE_ID" in problem
    assert watch.problem("orders", 60.1) is None


def test_a_rolling_restart_is_not_a_problem() -> None:
    """Some rebalances for each worker that goes and comes, over minutes."""
    watch = RebalanceWatch()
    for number in range(100):
        watch.assigned(number * 3.0)
        assert watch.problem("orders", number * 3.0) is None
