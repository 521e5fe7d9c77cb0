"""Which return a report of Digital River is about. A webhook may come before the answer to our request, without an id of ours."""

from __future__ import annotations

from msgspec.structs import replace

from statemachine.aftersale.repaid import is_accepting, not_paid_back
from statemachine.aftersale.returnable import find_return
from statemachine.drafts.commanding import command_reported
from statemachine.drafts.draft import Draft
from statemachine.messages.commands import CreateReturn
from statemachine.messages.facts import RemoteReturn
from statemachine.order.order import Return


def overdue(returned: Return) -> str:
    """The start of the reason for attention that units are not sent back in time."""
    return f"return {returned.return_id} is overdue: "


def own_return_id(draft: Draft, remote: RemoteReturn) -> str | None:
    """Our id of the return: from its metadata, which may be missing, or from the command that it answers."""
    if remote.return_id is not None:
        return remote.return_id
    about = command_reported(CreateReturn, "create_return", draft, remote.command_id)
    return None if about is None else about.return_id


def reported_return(draft: Draft, remote: RemoteReturn) -> tuple[Return | None, RemoteReturn]:
    """The return that the report is about, None when it is not known here; and the report, with what is already known of it."""
    order = draft.order
    known = next((one for one in order.returns if one.remote_id == remote.dr_return_id), None)
    mine = find_return(order, own_return_id(draft, remote))
    if mine is None or mine.remote_id is not None:
        return known, remote
    if known is None:
        return mine, remote
    if is_accepting(order, known.return_id):
        return known, remote  # its receipt was reported under Digital River's id, and the answer is still to come
    return _joined(draft, mine, known), replace(remote, state="accepted") if known.state == "accepted" else remote


def _joined(draft: Draft, mine: Return, reported: Return) -> Return:
    """Join two returns: one that seemed to be Digital River's own is ours; its webhook came first, without our id."""
    one = replace(mine, refunds=reported.refunds)
    kept = [returned for returned in draft.order.returns if returned is not mine and returned is not reported]
    draft.put(returns=tuple(sorted([*kept, one], key=lambda returned: returned.return_id)))
    for reason in (overdue(reported), not_paid_back(reported)):
        draft.clear_attention(reason)
    return one
