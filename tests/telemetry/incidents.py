"""The twelve incidents that each have an alert, as Prometheus sees them: series by the minute, and the alert that must fire.

A series is written as promtool's tests write it: ``0+2x60`` begins at 0 and grows by 2 for 60 minutes, ``0x60`` stays.
"""

from __future__ import annotations

from typing import Final

#: What is true of a fleet in which nothing is wrong: two workers, all lanes busy.
CALM: Final[dict[str, str]] = {
    'up{job="orderflow-worker",instance="w1"}': "1x180",
    'up{job="orderflow-worker",instance="w2"}': "1x180",
    'up{job="orderflow-relay",instance="r1"}': "1x180",
    'orderflow_partitions{instance="w1",lane="orders",state="running"}': "8x180",
    'orderflow_partitions{instance="w1",lane="orders",state="stopped"}': "0x180",
    'orderflow_partition_failures_total{instance="w1",lane="orders"}': "3x180",
    'orderflow_lag_seconds{instance="w1",lane="orders",partition="0"}': "0.4x180",
    'orderflow_lag_seconds{instance="w1",lane="commands",partition="0"}': "1.5x180",
    'orderflow_breaker_open{instance="w1",lane="commands"}': "0x180",
    'orderflow_breaker_open{instance="w2",lane="commands"}': "0x180",
    'orderflow_command_outcomes_total{instance="w1",command="create_fulfillment",result="confirmed"}': "0+5x180",
    'orderflow_command_outcomes_total{instance="w1",command="create_refund",result="unknown"}': "2x180",
    'orderflow_orders_attention{instance="w1"}': "4x180",
    'orderflow_dead_letters_total{instance="w1",lane="orders",reason="invalid"}': "7x180",
    'orderflow_dead_letters_total{instance="w1",lane="orders",reason="failed"}': "0x180",
    'orderflow_relay_refused_total{instance="r1",status="400",kind="signed"}': "1x180",
    'orderflow_webhooks_total{instance="w1",result="facts"}': "0+9x180",
}

#: By alert: what is different from calm.
INCIDENTS: Final[dict[str, dict[str, str]]] = {
    "OrderflowWorkerDown": {'up{job="orderflow-worker",instance="w2"}': "1x30 0x150"},
    "OrderflowPartitionStopped": {
        'orderflow_partitions{instance="w1",lane="orders",state="stopped"}': "0x30 1x150",
        'orderflow_lag_seconds{instance="w1",lane="orders",partition="0"}': "0x30 0+60x150",
    },
    "OrderflowTransactionsFail": {
        'orderflow_partition_failures_total{instance="w1",lane="orders"}': "3x30 3+4x150",
        'orderflow_lag_seconds{instance="w1",lane="orders",partition="0"}': "0x30 0+60x150",
    },
    "OrderflowLagRises": {'orderflow_lag_seconds{instance="w1",lane="orders",partition="0"}': "0x30 0+60x150"},
    "OrderflowDigitalRiverAway": {
        'orderflow_breaker_open{instance="w2",lane="commands"}': "0x30 1x150",
        'orderflow_lag_seconds{instance="w1",lane="commands",partition="0"}': "0x30 0+60x150",
        'orderflow_command_outcomes_total{instance="w1",command="create_fulfillment",result="confirmed"}': "0+5x30 155x150",
        'orderflow_webhooks_total{instance="w1",result="facts"}': "0+9x30 279x150",
    },
    "OrderflowUnknownOutcomes": {
        'orderflow_command_outcomes_total{instance="w1",command="create_refund",result="unknown"}': "2x30 2+1x150"
    },
    "OrderflowOrdersNeedAttention": {'orderflow_orders_attention{instance="w1"}': "4x30 4+3x150"},
    "OrderflowDeadLetters": {
        'orderflow_dead_letters_total{instance="w1",lane="orders",reason="invalid"}': "7x30 7+5x150"
    },
    "OrderflowDecisionsFail": {
        'orderflow_dead_letters_total{instance="w1",lane="orders",reason="failed"}': "0x30 0+1x150"
    },
    "OrderflowWebhooksRefused": {
        'orderflow_relay_refused_total{instance="r1",status="400",kind="signed"}': "1x30 1+2x150"
    },
    "OrderflowWebhooksMissing": {'orderflow_webhooks_total{instance="w1",result="facts"}': "0+9x30 279x150"},
    "OrderflowPaused": {
        'orderflow_paused{instance="w1",scope="partition/orders/0"}': "_x30 1x150",
        'orderflow_lag_seconds{instance="w1",lane="orders",partition="0"}': "0x30 0+60x150",
    },
}

#: Minutes after which every incident, which begins in minute 31, has lasted long enough.
AT: Final = "2h30m"
