"""Changed tables, and whether a replay finds exactly the orders that each of them touches."""

from __future__ import annotations

import random

from orderflow.settings import Settings
from tests.replay.apart import Told, traces
from tests.replay.shop import POLICY, replayed
from tests.unit.statemachine.mutants import applied, mutants


async def find_twenty_changed_rules(told: Told, settings: Settings, *, seed: int) -> None:
    """Draw mutants until twenty have touched an order; of each, precision and recall of the replay must be 1.0."""
    sound, noticed = traces(told, POLICY), 0
    every = mutants()
    for mutant in random.Random(seed).sample(every, len(every)):
        if noticed == 20:
            break
        with applied(mutant):
            changed = traces(told, POLICY)
            expected = {name for name, trace in changed.items() if trace != sound[name]}
            if not expected:
                continue
            found = await replayed(settings)
        assert {one.order_id for one in found.differences} == expected, mutant.name
        assert found.left_out == {}
        noticed += 1
    assert noticed == 20
