"""One request as the resources see it, and their answer. Resources are synchronous: each request is one atomic step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import Parameter, Query
from orderflow.simulator.state.kinds import Kind, members
from orderflow.simulator.state.world import World


@dataclass(frozen=True, slots=True)
class Call:
    """A request: ``ids`` are the path's parts in braces, ``body`` is empty when there is none."""

    ids: Mapping[str, str]
    query: Query
    body: Json


class Reply(NamedTuple):
    """An answer; no body with 204. ``content`` is a file in place of a body, with its name and type."""

    status: int
    body: Json | list[Json] | None = None
    content: bytes | None = None
    file_name: str = ""
    content_type: str = "application/pdf"


class Route(NamedTuple):
    """Where a resource is served, the parameters that it takes, any other is refused, and what its body may hold."""

    method: str
    path: str
    serve: Callable[[World, Call], Reply]
    parameters: tuple[Parameter, ...] = ()
    takes: Kind = members({}, others=True)
    #: Anybody may ask, without a key.
    is_public: bool = False
    #: The body may be a form with a file, which the resource gets as Base64.
    takes_form: bool = False

    @property
    def may_be_missing(self) -> bool:
        """Whether 404 is documented: where the path names a resource, and for a checkout that was ordered already.

        What only the body names and is not there is a 400, as the refund of an unknown order is in a recorded answer.
        """
        return "{" in self.path or (self.method, self.path) == ("POST", "/orders")
