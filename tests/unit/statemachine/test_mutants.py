"""Every small fault in a table is noticed: by the checker, or by a test that is named for it in ``mutants.json``."""

from __future__ import annotations

import msgspec
import pytest

from statemachine.checker import check
from tests.unit.statemachine.mutants import CHECKER, RECORDED, Mutant, applied, fast_tests, mutants, notices

RECORD: dict[str, str] = msgspec.json.decode(RECORDED.read_bytes())
FOUND = {mutant.name: mutant for mutant in mutants()}
#: In each run of the tests; the soak takes all of them.
SAMPLE = [name for at, name in enumerate(FOUND) if at % 6 == 0]


def _is_noticed(mutant: Mutant) -> bool:
    """By the one that the record names."""
    name = RECORD[mutant.name]
    if name == CHECKER:
        return bool(check(defined=mutant.defined))
    test = fast_tests()[name]
    assert not notices(test), f"{name} fails with the sound table, too"
    with applied(mutant):
        return notices(test)


def test_the_record_names_somebody_for_every_mutant() -> None:
    """Renew it with python -m tests.unit.statemachine.mutants; whom it prints as unnoticed needs a test."""
    assert set(RECORD) == set(FOUND)
    assert len(FOUND) >= 40


@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_in_a_table_is_noticed(name: str) -> None:
    """A removed rule, a swapped target, a dropped guard or effect."""
    assert _is_noticed(FOUND[name])


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_every_fault_in_a_table_is_noticed() -> None:
    """The same for all of them."""
    assert [name for name, mutant in FOUND.items() if not _is_noticed(mutant)] == []
