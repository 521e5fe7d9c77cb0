"""What the figures beside other stream processors rest on: the load, the judge of what was written, the table."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from benchmarks.peers import measuring, report
from benchmarks.peers.broker import connected
from benchmarks.peers.loads import OPENING_EVENTS, Made, OwnOrder, PeerOrder, interleaved
from benchmarks.peers.machine import EVENTS_PER_ORDER, Order, advance
from benchmarks.peers.peers import PEERS
from benchmarks.peers.plot import Bar, draw
from benchmarks.peers.reading import Expected, faults, sent_at
from benchmarks.workload import CHANGES_PER_ORDER
from orderflow.embedded_kafka import EmbeddedKafka


def _all(number: int = 7) -> list[Made]:
    order = PeerOrder(number)
    return [order.make(1_800_000_000.25) for _ in range(EVENTS_PER_ORDER)]


def test_an_order_of_the_peers_passes_all_its_states() -> None:
    """Six events make six versions and two commands; what is written has about the sizes of orderflow's."""
    snapshot, commands, lengths = None, 0, []
    events = _all()
    for version, made in enumerate(events, 1):
        step = advance(snapshot, made.value)
        assert step is not None
        snapshot = step.order
        assert json.loads(snapshot)["version"] == json.loads(step.change)["data"]["version"] == version
        assert sent_at(step.change) == 1_800_000_000.25
        assert bool(step.command) is bool(made.commands)
        commands += made.commands
        lengths.append((len(made.value), len(snapshot), len(step.change)))
    assert commands == 2
    assert json.loads(snapshot or b"")["status"] == "completed"
    assert json.loads(snapshot or b"").keys() == set(Order.__struct_fields__)
    means = [sum(column) / len(lengths) for column in zip(*lengths, strict=True)]
    assert means == pytest.approx([677, 718, 795], rel=0.1)


def test_a_repeated_event_is_dropped_and_a_wrong_one_is_an_error() -> None:
    """The peers check as much as their workload says."""
    first, second, third, *_ = _all()
    step = advance(None, first.value)
    assert step is not None
    assert advance(step.order, first.value) is None
    with pytest.raises(ValueError, match=r"order\.submitted in state created"):
        advance(step.order, third.value)
    assert advance(step.order, second.value) is not None


@pytest.mark.parametrize("make", [PeerOrder, OwnOrder])
def test_orders_are_interleaved_and_can_be_opened_first_and_finished_later(make: type) -> None:
    """Each order has its events in their order; opened and finished apart they are as many as in one go."""
    numbers = range(5)
    whole = [source.make(1.0) for source in interleaved(make, numbers, window=3)]
    opened = [source.make(1.0) for source in interleaved(make, numbers, last=OPENING_EVENTS, window=3)]
    rest = [source.make(1.0) for source in interleaved(make, numbers, first=OPENING_EVENTS, window=3)]
    assert Counter(made.key for made in whole) == Counter(made.key for made in opened + rest)
    assert sum(made.changes for made in whole) == sum(made.changes for made in opened + rest)
    assert [made.key for made in whole] != sorted(made.key for made in whole)
    for key in {made.key for made in whole}:
        types = [json.loads(made.value)["type"] for made in whole if made.key == key]
        assert types == [json.loads(made.value)["type"] for made in opened + rest if made.key == key]
        assert len(types) == EVENTS_PER_ORDER


def test_orderflow_writes_as_many_changes_as_its_load_says() -> None:
    """A source that is provided has no news."""
    order = OwnOrder(3)
    made = [order.make(5.5) for _ in range(EVENTS_PER_ORDER)]
    assert sum(one.changes for one in made) == CHANGES_PER_ORDER
    assert json.loads(made[0].value)["id"].endswith("@5.500000")


async def _written(changes: list[bytes], commands: int) -> list[str]:
    """What the judge says of these changes of one order, all of whose six events were sent."""
    expected = Expected()
    for made in _all():
        expected.add(made)
    async with EmbeddedKafka() as kafka:
        async with connected(kafka.bootstrap) as broker:
            await broker.make_topics({"changes": {}, "commands": {}, "letters": {}})
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for value in changes:
                await producer.send_and_wait("changes", value, _all()[0].key)
            for _ in range(commands):
                await producer.send_and_wait("commands", b"{}", b"k")
        return await faults(kafka.bootstrap, "changes", "commands", expected, nothing_in=("letters",))


def _changes() -> list[bytes]:
    snapshot, found = None, []
    for made in _all():
        step = advance(snapshot, made.value)
        assert step is not None
        snapshot = step.order
        found.append(step.change)
    return found


@pytest.mark.parametrize(
    ("pick", "commands", "wrong"),
    [
        (range(6), 2, []),
        ([0, 1, 2, 3, 4], 2, ["an order has another number of changes: 1 times"]),
        ([0, 1, 1, 2, 3, 4, 5], 2, ["a change is out of order", "an order has another number of changes"]),
        ([0, 2, 1, 3, 4, 5], 2, ["a change is out of order, doubled or missing: 2 times"]),
        (range(6), 3, ["3 commands, expected 2"]),
    ],
    ids=["right", "lost", "doubled", "out of order", "a command too many"],
)
async def test_what_was_written_wrong_has_no_figure(pick: list[int], commands: int, wrong: list[str]) -> None:
    """A change that is lost, doubled or out of order is found, and so is a command."""
    changes = _changes()
    found = await _written([changes[at] for at in pick], commands)
    assert len(found) == len(wrong)
    assert all(line.startswith(begin) for line, begin in zip(found, wrong, strict=True))


def _run(rates: dict[int, float], cpu_us: float) -> dict[str, list[dict[str, float]]]:
    """The results of the rounds in which a peer did not fail."""
    rounds = rates.items()
    return {
        "throughput": [
            {"round": at, "events_per_second": rate, "last_third_per_second": rate, "cpu_us": cpu_us, "rss_mb": 90.0}
            for at, rate in rounds
        ]
    }


_RESULTS: report.Results = {
    "orderflow": _run({0: 20_000.0, 1: 22_000.0}, 29.0),
    "streams": _run({0: 25_000.0, 1: 20_000.0}, 28.0),
    "bare": _run({1: 44_000.0}, 20.0),
}


def test_the_reach_table_has_ratio_goal_and_end_of_each_figure() -> None:
    """Ratios are of the same round, a goal is a lead or a limit or both, and what is missed is named."""
    rows = list(report.rows(_RESULTS))
    first = rows[0]
    assert (first.ours, first.theirs, first.ratio) == ("21,000", "22,500", "0.95 (0.80 to 1.10)")
    assert (first.goal, first.met) == ("≥ 1.10 ×", False)
    cpu = next(row for row in rows if row.figure.startswith("µs") and row.peer.startswith("Kafka"))
    assert (cpu.goal, cpu.met) == ("≤ 1.00 ×, ≤ 30", False)
    bare = next(row for row in rows if row.peer.startswith("bare"))
    assert (bare.goal, bare.ratio) == ("", "0.50"), "of the round that both have"
    text = report.text_table(rows)
    assert text.splitlines()[0].split() == ["figure", "orderflow", "peer", "its", "figure", "ratio", "goal", "end"]
    assert "missed" in text
    assert report.markdown(rows).count("\n") == len(rows) + 2
    assert "events/s, all there already beside Kafka Streams" in report.losses(rows)
    assert report.losses([]) == "Every goal was met."


def test_the_page_is_written_over_and_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Table, date and machine are put between the marks, the plot beside the page."""
    page, plot = tmp_path / "page.md", tmp_path / "page.svg"
    page.write_text(report.PAGE.read_text())
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "PLOT", plot)
    run = {
        "date": "4 March 2031",
        "machine": {"machine": "2 cores"},
        "sizes": {"orders": 5000},
        "results": _RESULTS,
        "not_run": {"quix": "no wheel"},
        "failed": {"bare": "growth, wrong: 3 commands, expected 2"},
    }
    report.write_page(run)
    once = page.read_text()
    report.write_page(run)
    assert page.read_text() == once
    assert "Run on 4 March 2031. machine: 2 cores." in once
    assert "Quix Streams 3.28.1 did not run: no wheel." in once
    assert "bare aiokafka loop has figures missing: growth, wrong: 3 commands, expected 2." in once
    assert plot.read_text().startswith("<svg ")


def test_a_plot_has_a_bar_for_each_peer() -> None:
    """Names are escaped."""
    svg = draw({"µs < an event": [Bar("a & b", 2.0, 1.0, 3.0), Bar("c", 0.0, 0.0, 0.0)]})
    drawn = ET.fromstring(svg)  # noqa: S314  # our own
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert texts == ["µs < an event", "a & b", "2", "c", "0"]


def test_every_peer_has_a_row_on_the_page() -> None:
    """What is run is what the page says."""
    assert [peer.title for peer in PEERS if f"| {peer.title.partition(',')[0]} |" not in report.PAGE.read_text()] == [
        "orderflow worker"
    ]


@pytest.mark.timeout(120)
async def test_a_measurement_starts_a_worker_and_checks_what_it_wrote() -> None:
    """The bare loop on the embedded broker; a load that says that more was to be written has no figure."""
    (bare,) = (peer for peer in PEERS if peer.name == "bare")
    async with EmbeddedKafka() as kafka, connected(kafka.bootstrap) as broker:
        measured = await measuring.latency(broker, bare, bare.prepare(), None, 100, 0.5)
        assert 0 < measured.p50 <= measured.p99
        more = dataclasses.replace(bare, make=_OneCommandTooMany)
        with pytest.raises(measuring.Wrong, match="commands, expected"):
            await measuring.latency(broker, more, bare.prepare(), None, 100, 0.5)


class _OneCommandTooMany(PeerOrder):
    def make(self, now: float) -> Made:
        return dataclasses.replace(super().make(now), commands=1)
