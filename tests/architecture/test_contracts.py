"""The committed contract is the code's, and keeps what the last release promised. Run as a module, this writes it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, get_args

import msgspec
import pytest

from orderflow import __version__
from orderflow.contracts.client_words import PAYMENT_WORDS, STATE_WORDS
from orderflow.contracts.comparing import breaks
from orderflow.contracts.documents import ASYNCAPI, asyncapi_document, files, write
from orderflow.contracts.messages import contract
from orderflow.contracts.outbound import structs
from orderflow.contracts.outbound_words import OUTBOUND_WORDS
from orderflow.contracts.page import page
from statemachine.messages.events import REGISTRY
from statemachine.messages.operator_events import OPERATOR_EVENTS
from statemachine.order.order import Payment, State
from statemachine.order.states import FINAL, RESTING
from tests.architecture.sources import ROOT

FOLDER: Final = ROOT / "contracts"
PAGE: Final = ROOT / "docs/reference/messages.md"
#: Breaking changes since the last release that were decided on, each as `orderflow contracts check` names it.
ACCEPTED: Final = FOLDER / "released/accepted-breaks.txt"
_RENEW: Final = "python -m tests.architecture.test_contracts"


def _committed() -> dict[str, str]:
    paths = [FOLDER / ASYNCAPI, *(FOLDER / "schemas").iterdir()]
    return {path.relative_to(FOLDER).as_posix(): path.read_text() for path in paths}


def test_the_committed_documents_are_what_the_code_gives() -> None:
    """None is out of date, none is missing, and none is left over from a message that is no more."""
    assert _committed() == files(), f"contracts/ is out of date: {_RENEW}"


def test_the_page_of_the_messages_is_what_the_code_gives() -> None:
    """People read the same contract as programs."""
    assert PAGE.read_text() == page(), f"messages.md is out of date: {_RENEW}"


def test_what_breaks_since_the_last_release_was_decided_on() -> None:
    """Each breaking change since the release that the version names is in the list, and the list has no other."""
    released = json.loads((FOLDER / "released" / __version__ / ASYNCAPI).read_text())
    found = [str(one) for one in breaks(released, asyncapi_document(contract()))]
    assert found == ACCEPTED.read_text().splitlines()


@pytest.mark.parametrize("name", sorted(structs()))
def test_each_member_that_comes_out_is_described(name: str) -> None:
    """Who reads a message finds out what each of its members means."""
    members = [field.encode_name for field in msgspec.structs.fields(structs()[name])]
    assert [member for member in members if not OUTBOUND_WORDS.get(name, {}).get(member)] == []


def test_each_state_of_an_order_and_of_its_payment_is_described() -> None:
    """Who reads a record finds out what its words mean, and after which state nothing more has to come."""
    assert list(STATE_WORDS) == list(get_args(State))
    assert list(PAYMENT_WORDS) == list(get_args(Payment))
    assert {state for state, words in STATE_WORDS.items() if words.endswith(". Final")} == set(FINAL)
    assert {state for state, words in STATE_WORDS.items() if ". It rests:" in words} == set(RESTING)


def test_every_event_type_that_the_decoder_reads_has_a_schema() -> None:
    """The registry, the operators' types, webhooks, and nothing else."""
    received = {message.name for message in contract().messages if message.direction == "receive"}
    types = {kind for kinds in REGISTRY.values() for kind in kinds} | set(OPERATOR_EVENTS)
    assert received == {*types, "digitalriver.webhook"}


if __name__ == "__main__":
    for path in (FOLDER / "schemas").glob("*.json"):
        path.unlink()
    write(Path(FOLDER))
    PAGE.write_text(page())
