"""All metrics: the one list from which they are registered, documented and checked.

Rules of the file:
- No label takes the id of an order, or a text from outside. A label says what its values are.
- A metric with the label ``partition`` is there while this process owns the partition, and goes with it.
- Counters count from the start of the process. Those of a lane are sums over all partitions that the process has had.
- A worker of several processes shows one number: counters are summed, a gauge says by ``several`` how it is merged.
- A name never changes its meaning: a dashboard or an alert may rest on it.
"""

from __future__ import annotations

from typing import Final

from orderflow.telemetry.metric import EVERY, Kind, Label, Metric, Process, Several

_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_RELAY: Final = (Process.RELAY,)
_SIMULATOR: Final = (Process.SIMULATOR,)
_WORKER: Final = (Process.WORKER,)

LANE: Final = Label("lane", "`orders`, `commands`, `webhooks`, `catalogue`: those that the worker runs")
PARTITION: Final = Label("partition", "a partition that the worker owns now")
STATE: Final = Label("state", "a state of an order's life cycle: 17, and `other`")
EVENT_TYPE: Final = Label("type", "an event type that this version knows, `unread` or `other`: below 150")
VERDICT: Final = Label("verdict", "`moved`, `parked`, `repeated`, `refused`, `failed`, `forwarded`")
REASON: Final = Label("reason", "a reason of dead letters: 9")
COMMAND: Final = Label("command", "a command's name: 11")
DEADLINE: Final = Label("deadline", "a deadline's name: 8, and `other`")

# -- the process

INFO: Final = Metric(
    "orderflow_info",
    _GAUGE,
    "1; the label names the version that runs.",
    EVERY,
    (Label("version", "one"),),
    several=Several.MAX,
)
LOOP_LAG: Final = Metric(
    "orderflow_event_loop_lag_seconds",
    _HISTOGRAM,
    "How late the event loop came to a task that was due, looked at twice a second, in seconds.",
    EVERY,
)
READY: Final = Metric("orderflow_ready", _GAUGE, "1 while /readyz answers 200, else 0.", several=Several.MIN)
PROBLEMS: Final = Metric("orderflow_problems", _GAUGE, "Lines of problems on /readyz.")
PAUSED: Final = Metric(
    "orderflow_paused",
    _GAUGE,
    "1 while an operator has paused the scope, of what this worker runs; /readyz says who and why.",
    _WORKER,
    (Label("scope", "`lane/L`, `partition/L/P` of an owned partition, `command/NAME` of a known command"),),
    several=Several.MAX,
)

# -- partitions and their group

PARTITIONS: Final = Metric(
    "orderflow_partitions",
    _GAUGE,
    "Partitions that the worker owns, by where they are in their life.",
    _WORKER,
    (LANE, Label("state", "`assigned`, `fenced`, `restoring`, `running`, `draining`, `revoked`, `stopped`")),
)
PROBLEM: Final = Metric(
    "orderflow_partition_problem",
    _GAUGE,
    "1 while the partition has a problem, which /readyz names, else 0.",
    _WORKER,
    (LANE, PARTITION),
    several=Several.MAX,
)
RESTORED: Final = Metric(
    "orderflow_restored_ratio",
    _GAUGE,
    "Share of the changelog that was read back, 0 to 1; there while the partition is restored only.",
    _WORKER,
    (LANE, PARTITION),
    several=Several.MIN,
)
TAKEOVERS: Final = Metric(
    "orderflow_takeovers_total", _COUNTER, "Take-overs of partitions that began, failed ones too.", _WORKER, (LANE,)
)
RESTORES: Final = Metric(
    "orderflow_restores_total", _COUNTER, "Stores that were read back from their changelog.", _WORKER, (LANE,)
)
RESUMES: Final = Metric(
    "orderflow_resumes_total",
    _COUNTER,
    "Partitions that came back while nobody else had them: nothing was read back.",
    _WORKER,
    (LANE,),
)
FAILURES: Final = Metric(
    "orderflow_partition_failures_total",
    _COUNTER,
    "Take-overs and periods of work that an error ended; all but a stop are tried again.",
    _WORKER,
    (LANE,),
)
REBALANCES: Final = Metric(
    "orderflow_rebalances_total", _COUNTER, "Times that the group assigned partitions to this worker.", _WORKER, (LANE,)
)
LAG_RECORDS: Final = Metric(
    "orderflow_lag_records",
    _GAUGE,
    "Records of the inputs that are not done, without the ends of transactions, looked at every 15 seconds. "
    "Of what lies more than 1,000 records ahead of the first of them, offsets are counted, so it is at most so many.",
    _WORKER,
    (LANE, PARTITION),
    several=Several.MAX,
)
LAG_SECONDS: Final = Metric(
    "orderflow_lag_seconds",
    _GAUGE,
    "Age of the oldest record that is not done, by its timestamp, in seconds; 0 when there is none. Looked at every "
    "15 seconds; not there while it is not known.",
    _WORKER,
    (LANE, PARTITION),
    several=Several.MAX,
)

# -- records and transactions

RECORDS: Final = Metric(
    "orderflow_records_total", _COUNTER, "Input records that were worked on, by lane.", _WORKER, (LANE,)
)
TRANSACTIONS: Final = Metric("orderflow_transactions_total", _COUNTER, "Transactions committed.", _WORKER, (LANE,))
TRANSACTION_SECONDS: Final = Metric(
    "orderflow_transaction_seconds",
    _HISTOGRAM,
    "Time from the begin of a transaction to its commit, in seconds.",
    _WORKER,
    (LANE,),
)
TRANSACTION_RECORDS: Final = Metric(
    "orderflow_transaction_records", _HISTOGRAM, "Records that a committed transaction wrote.", _WORKER, (LANE,)
)
LETTERS: Final = Metric(
    "orderflow_dead_letters_total", _COUNTER, "Dead letters written, by reason.", _WORKER, (LANE, REASON)
)

# -- orders

EVENTS: Final = Metric(
    "orderflow_events_total",
    _COUNTER,
    "Events of orders that were decided and committed, by type and by what became of them.",
    _WORKER,
    (EVENT_TYPE, VERDICT),
)
TRANSITIONS: Final = Metric(
    "orderflow_transitions_total",
    _COUNTER,
    "Moves of orders from one state to another, by the states before and after the decision.",
    _WORKER,
    (Label("from", "a state of an order's life cycle: 17"), Label("to", "the same; below 90 pairs occur")),
)
DWELL: Final = Metric(
    "orderflow_state_seconds",
    _HISTOGRAM,
    "How long an order had been in the state that it left, in seconds; of a state without a deadline and without looks, "
    "since its last change.",
    _WORKER,
    (STATE,),
)
CHANGES: Final = Metric("orderflow_changes_total", _COUNTER, "State changes published.")
COMMANDS: Final = Metric("orderflow_commands_total", _COUNTER, "Commands asked of the command lane.")
FIRED: Final = Metric("orderflow_deadlines_fired_total", _COUNTER, "Deadlines that fired, looks at Digital River too.")
ORDERS: Final = Metric(
    "orderflow_orders", _GAUGE, "Orders in the partitions that the worker owns, by state.", _WORKER, (STATE,)
)
OLDEST: Final = Metric(
    "orderflow_oldest_order_seconds",
    _GAUGE,
    "For how long the order that has been in the state longest has been there, in seconds; of waiting states only.",
    _WORKER,
    (STATE,),
    several=Several.MAX,
)
ATTENTION: Final = Metric(
    "orderflow_orders_attention", _GAUGE, "Orders with a reason for attention: a person must look."
)
HELD: Final = Metric("orderflow_orders_held", _GAUGE, "Orders that are held.")
PARKED: Final = Metric("orderflow_parked_events", _GAUGE, "Events that wait inside their orders.")
DEADLINES: Final = Metric(
    "orderflow_deadlines", _GAUGE, "Deadlines that orders wait for, by name.", _WORKER, (DEADLINE,)
)
OVERDUE: Final = Metric(
    "orderflow_deadlines_overdue",
    _GAUGE,
    "Deadlines that should have fired more than a minute ago, of orders that are not held.",
    _WORKER,
    (DEADLINE,),
)
OPEN_COMMANDS: Final = Metric(
    "orderflow_open_commands",
    _GAUGE,
    "Commands of orders without a final outcome: they wait for their `answer`, are asked about because their outcome is "
    "`unknown`, are to be sent again (`retry`), or wait for a person (`stuck`).",
    _WORKER,
    (Label("step", "`answer`, `unknown`, `retry`, `stuck`, `other`"),),
)
CENSUS_AGE: Final = Metric(
    "orderflow_census_age_seconds",
    _GAUGE,
    "Age of the oldest count of a partition's orders, in seconds. Orders, attention, holds, parked events, deadlines and open "
    "commands are counted one partition after the other, with at most 1 % of a core.",
    several=Several.MAX,
)

# -- Digital River

OUTCOMES: Final = Metric(
    "orderflow_command_outcomes_total",
    _COUNTER,
    "Commands that the command lane has an outcome of, by command and result.",
    _WORKER,
    (COMMAND, Label("result", "`confirmed`, `rejected`, `unknown`, `absent`")),
)
OUTCOME_SECONDS: Final = Metric(
    "orderflow_command_seconds",
    _HISTOGRAM,
    "Time from the turn of a command to its outcome, with all its waits and attempts, in seconds.",
    _WORKER,
    (COMMAND,),
)
_PURPOSE: Final = Label("purpose", "a command's name, `look_up`, `read_order` or `write_sku`: 14")
REQUESTS: Final = Metric(
    "orderflow_requests_total",
    _COUNTER,
    "Attempts at Digital River, by purpose and result; an attempt of a command may be two requests.",
    _WORKER,
    (LANE, _PURPOSE, Label("result", "`answered`, `throttled`, `denied`, `off_contract`, `unanswered`")),
)
REQUEST_SECONDS: Final = Metric(
    "orderflow_request_seconds",
    _HISTOGRAM,
    "Time of an attempt at Digital River from its begin to its answer or failure, in seconds.",
    _WORKER,
    (LANE, _PURPOSE),
)
RATE_WAITS: Final = Metric(
    "orderflow_rate_wait_seconds_total",
    _COUNTER,
    "Time that requests were made to wait by the rate limit, of all of them together, in seconds.",
    _WORKER,
    (LANE,),
)
THROTTLED: Final = Metric("orderflow_throttled_total", _COUNTER, "Answers 429 of Digital River.", _WORKER, (LANE,))
BREAKER_OPEN: Final = Metric(
    "orderflow_breaker_open",
    _GAUGE,
    "1 while the breaker holds calls back, else 0.",
    _WORKER,
    (LANE,),
    several=Several.MAX,
)
BREAKER_OPENINGS: Final = Metric(
    "orderflow_breaker_openings_total", _COUNTER, "Times that the breaker opened.", _WORKER, (LANE,)
)
WEBHOOKS: Final = Metric(
    "orderflow_webhooks_total",
    _COUNTER,
    "Webhooks worked on: handed to their order as `facts`, `skipped` because their type is not about orders; the others "
    "are dead letters. `looked_up`: times that Digital River was asked whose order it is.",
    _WORKER,
    (Label("result", "`facts`, `skipped`, `looked_up`"),),
)
SKUS: Final = Metric(
    "orderflow_skus_total",
    _COUNTER,
    "Events of SKUs worked on, by the SKU's state afterwards; `repeated`: the SKU had it already.",
    _WORKER,
    (Label("result", "`known`, `refused`, `removed`, `repeated`"),),
)

# -- the relay

RELAY_ANSWERS: Final = Metric(
    "orderflow_relay_answers_total",
    _COUNTER,
    "Answers to webhooks: 202 when Kafka has it, 400 when it is not Digital River's, 413 when it is too large, 503 when it "
    "could not be stored.",
    _RELAY,
    (Label("status", "`202`, `400`, `413`, `503`"),),
)
RELAY_SECONDS: Final = Metric(
    "orderflow_relay_seconds",
    _HISTOGRAM,
    "Time from a webhook's header to its answer, in seconds; Digital River waits for 3.",
    _RELAY,
)
RELAY_REFUSED: Final = Metric(
    "orderflow_relay_refused_total",
    _COUNTER,
    "Webhooks that were not taken, by status and whether they had a signature header.",
    _RELAY,
    (Label("status", "`400`, `413`, `503`"), Label("kind", "`signed`, `unsigned`")),
)

# -- the simulator

SIM_REQUESTS: Final = Metric(
    "orderflow_simulator_requests_total",
    _COUNTER,
    "Requests to the simulated API, by method and status; a dropped connection counts as 500.",
    _SIMULATOR,
    (Label("method", "an HTTP method: 5, and `other`"), Label("status", "an HTTP status: below 15")),
)
SIM_WEBHOOKS: Final = Metric(
    "orderflow_simulator_webhooks_total",
    _COUNTER,
    "What became of webhooks: tries, `acknowledged`, `given_up`, and `lost` by a fault.",
    _SIMULATOR,
    (Label("result", "`tried`, `acknowledged`, `given_up`, `lost`"),),
)
SIM_UNDELIVERED: Final = Metric(
    "orderflow_simulator_webhooks_undelivered", _GAUGE, "Webhooks that are not acknowledged yet.", _SIMULATOR
)
SIM_OBJECTS: Final = Metric(
    "orderflow_simulator_objects",
    _GAUGE,
    "Objects that the simulator has, by kind.",
    _SIMULATOR,
    (Label("kind", "`checkouts`, `orders`, `fulfillments`, `refunds`, `returns`, `skus`"),),
)

# -- what prometheus-client measures of the process, on Linux

_LIBRARY: Final = (
    ("process_virtual_memory_bytes", _GAUGE, "Virtual memory of the process, in bytes.", Several.SUM),
    ("process_resident_memory_bytes", _GAUGE, "Memory that the process holds, in bytes.", Several.SUM),
    ("process_start_time_seconds", _GAUGE, "When the process started, in seconds since 1970.", Several.MIN),
    ("process_cpu_seconds_total", _COUNTER, "CPU time that the process has used, in seconds.", Several.SUM),
    ("process_open_fds", _GAUGE, "Open file descriptors: files and connections.", Several.MAX),
    ("process_max_fds", _GAUGE, "How many file descriptors the process may open.", Several.MIN),
)

METRICS: Final[tuple[Metric, ...]] = (
    *(value for value in dict(globals()).values() if isinstance(value, Metric)),
    *(Metric(name, kind, text, EVERY, (), of_library=True, several=several) for name, kind, text, several in _LIBRARY),
)
