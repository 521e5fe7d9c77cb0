"""Pictures of the life cycle, drawn from the table, so that truth and picture cannot part."""

from __future__ import annotations

from collections.abc import Iterable

from statemachine.order import State
from statemachine.rules import ALL, FINAL, Rule
from statemachine.table import RULES


def mermaid(rules: Iterable[Rule[State]] = RULES) -> str:
    """A Mermaid ``stateDiagram-v2`` of all moves from one state to another, ended by a line feed."""
    edges: dict[tuple[State, State], list[str]] = {}
    for rule in rules:
        for source in rule.sources:
            if rule.target is not None and rule.target != source:
                labels = edges.setdefault((source, rule.target), [])
                name = rule.trigger.removeprefix("digitalriver.")
                if name not in labels:
                    labels.append(name)
    lines = ["stateDiagram-v2", "    [*] --> awaited"]
    lines += [f"    {source} --> {target}: {', '.join(labels)}" for (source, target), labels in edges.items()]
    drawn = {state for edge in edges for state in edge}
    lines += [f"    {state} --> [*]" for state in ALL if state in FINAL and state in drawn]
    return "\n".join(lines) + "\n"
