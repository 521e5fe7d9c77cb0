"""Tables as ``transitions.Machine``. The only file that imports transitions.

There is one machine for each table, built once per process. The model is the ``Draft`` of a decision, or a step of one refund or
return. It is never registered with the machine (9.5 KB and 89 us for each model) but passed to
``machine.events[trigger].trigger(draft)``. Event and Transition are lean subclasses: the library's dispatch builds an EventData,
resolves callbacks by name and logs on each trigger, which takes 8 us; ours walks the same transitions in 1 us. What the lean path
leaves out (enter, exit and machine-level callbacks, queues) cannot be written in a table, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from transitions import Machine as TransitionsMachine
from transitions import MachineError
from transitions.core import Event as TransitionsEvent
from transitions.core import Transition

from statemachine.tables.rules import Machine, Rule, StateName


class MachineModel(Protocol):
    """What a trigger works on: the state, and the rule that decided."""

    state: Any  # one of its table's states
    rule: Any  # Rule of that table, or None


class LeanTransition(Transition):
    """One rule of the table; ``rule``, ``guards`` and ``effects`` are set when the machine is built."""

    rule: Rule[Any]
    target: str
    guards: tuple[Callable[[Any], bool], ...]
    actions: tuple[Callable[[Any], None], ...]


class LeanEvent(TransitionsEvent):
    """All rules of one trigger."""

    # The stubs allow any model; a lean event needs what a draft has.
    def trigger(self, model: MachineModel, *args: object, **kwargs: object) -> bool:  # type: ignore[override]
        """Apply the first rule whose guards hold.

        Raises:
            MachineError: The table has no rule for this state, which the checker would have found.
        """
        # machine.py makes no other transitions: an isinstance check would cost as much as a guard.
        rules: list[LeanTransition] | None = self.transitions.get(model.state)  # type: ignore[assignment]
        for transition in rules or ():
            for guard in transition.guards:
                if not guard(model):
                    break
            else:
                model.rule = transition.rule
                if transition.dest is not None:
                    model.state = transition.target
                for action in transition.actions:  # an exception leaves a draft that is thrown away, never an order
                    action(model)
                return True
        raise MachineError(f"no rule for {self.name} in {model.state}")


class LeanMachine(TransitionsMachine):
    """A machine of lean events, without a model of its own."""

    event_cls = LeanEvent
    transition_cls = LeanTransition


def build_machine(
    described: Machine[StateName],
    guards: Mapping[str, Callable[[Any], bool]],
    effects: Mapping[str, Callable[[Any], None]],
) -> LeanMachine:
    """The machine that ``described`` describes.

    Raises:
        KeyError: A rule names a guard or an effect that does not exist.
    """
    machine = LeanMachine(
        model=None,
        states=[{"name": state, "final": state in described.final} for state in described.states],
        initial=described.initial,
        auto_transitions=False,
        send_event=True,
    )
    for rule in described.rules:
        rule_guards = tuple(guards[name] for name in rule.when)
        rule_effects = tuple(effects[name] for name in rule.do)
        for source in rule.sources:
            machine.add_transition(rule.trigger, source, rule.target, conditions=list(rule.when), after=list(rule.do))
            transition = machine.events[rule.trigger].transitions[source][-1]
            assert isinstance(transition, LeanTransition)
            transition.rule, transition.target = rule, rule.target or source
            transition.guards, transition.actions = rule_guards, rule_effects
    return machine


#: The name under which ``transitions`` reports a trigger that no rule takes.
NoRule: Final = MachineError
