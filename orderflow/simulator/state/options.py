"""How a simulator is to behave; the command line and the tests fill it in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

#: Digital River's limits, in requests per second and secret key.
TEST_RATE: Final = 25
LIVE_RATE: Final = 250

#: How often a webhook that was not taken comes again: in test mode three times, in live mode for 72 h.
Retries = Literal["test", "live"]

#: How a refusal for fraud is called: by Digital River's connector for Salesforce, and by its OpenAPI document.
FraudCode = Literal["order-fraud-failure", "fraud_block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """Options of one simulator. Delays are in seconds of its own clock, ``POST /_admin/clock`` moves it.

    ``rate`` is in requests per second, 0 for none; ``rate`` and ``webhook_retries`` of None are Digital River's for the kind of
    key. ``seed`` makes faults and ids repeatable. ``webhook_types`` of None sends the types that Digital River calls its core
    events. ``fraud_code`` comes first in a refusal for fraud, of the two codes that there are for it. ``public_url`` is where
    clients reach the simulator, for the addresses that it gives out; None: the address that the last request was sent to.
    ``order_fulfillment_ids``: orders that are placed name the fulfilment of each capture and cancel, which no sample does.
    """

    port: int = 8400
    host: str = "127.0.0.1"
    webhook_url: str | None = None
    webhook_token: str = "whsec_simulator"
    webhook_types: frozenset[str] | None = None
    webhook_concurrency: int = 16
    webhook_retries: Retries | None = None
    key: str = "sk_test_simulator"
    rate: int | None = None
    capture_delay: float = 1.0
    wire_delay: float = 2.0
    review_delay: float = 2.0
    refund_delay: float = 1.0
    seed: int | None = None
    #: Where the state is kept; None: it ends with the process.
    state: Path | None = None
    fraud_code: FraudCode = "order-fraud-failure"
    public_url: str | None = None
    order_fulfillment_ids: bool = False

    @property
    def base_url(self) -> str:
        """Where the simulator is reached, as long as no request has said otherwise; without a slash at the end."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104 - it listens on all of them
        return (self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.port}").rstrip("/")

    @property
    def is_test(self) -> bool:
        """Whether the key is one of test mode."""
        return self.key.startswith("sk_test_")

    @property
    def retries(self) -> Retries:
        """How webhooks are retried."""
        return self.webhook_retries or ("test" if self.is_test else "live")

    @property
    def rate_per_second(self) -> int:
        """The limit that holds; 0 for none."""
        if self.rate is not None:
            return self.rate
        return TEST_RATE if self.is_test else LIVE_RATE
