"""Digital River's error answers: a status, a type and a list of errors with code, parameter and message."""

from __future__ import annotations

from typing import Final

TYPES: Final[dict[int, str]] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    409: "conflict",
    429: "too_many_requests",
    500: "internal_server_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}


class ApiError(Exception):
    """The simulator refuses a request as Digital River would. Only the server's gateway turns it into an answer.

    ``kind`` is the ``type`` of the body, that of the status unless a sample has another.
    """

    def __init__(
        self, status: int, code: str, message: str, parameter: str | None = None, *, kind: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind: str | None = kind or TYPES.get(status, "bad_request")
        self.errors: list[dict[str, str]] = [error_of(code, message, parameter)]

    @classmethod
    def many(cls, status: int, errors: list[dict[str, str]]) -> ApiError:
        """A refusal for several reasons; ``errors`` is not empty."""
        refused = cls(status, errors[0]["code"], errors[0]["message"])
        refused.errors = errors
        return refused

    @classmethod
    def untyped(cls, status: int, code: str, description: str, parameter: str) -> ApiError:
        """A refusal as one sample has it: without a type, and with a ``description`` in place of a message."""
        refused = cls(status, code, description)
        refused.kind = None
        refused.errors = [{"code": code, "description": description, "parameter": parameter}]
        return refused

    def body(self) -> dict[str, object]:
        """The JSON body."""
        return {**({} if self.kind is None else {"type": self.kind}), "errors": self.errors}


def error_of(code: str, message: str, parameter: str | None = None) -> dict[str, str]:
    """One entry of ``errors``."""
    error = {"code": code, "message": message}
    if parameter is not None:
        error["parameter"] = parameter
    return error


def missing(parameter: str, message: str = "A parameter is missing.") -> ApiError:
    """400 for something required that is not there (documented)."""
    return ApiError(400, "missing_parameter", message, parameter)


def invalid(parameter: str, message: str | None = None) -> ApiError:
    """400 for a value that is not acceptable (documented code)."""
    return ApiError(400, "invalid_parameter", message or f"'{parameter}' is not valid.", parameter)


def not_found(parameter: str, what: str, name: str | None = None) -> ApiError:
    """404 for an unknown resource, ``name`` is what it was asked for by."""
    named = what if name is None else f"{what} '{name}'"
    return ApiError(404, "not_found", f"{named} not found.", parameter)
