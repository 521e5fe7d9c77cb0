"""Apache Kafka as companies run it: TLS with certificates of their own authority, users with passwords, client certificates.

The certificates are made by OpenSSL for each run and are gone with it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.kafka.scram import MECHANISMS
from tests.kafka.server import KafkaServer, Unavailable

USER: Final = "orderflow"
PASSWORD: Final = "only for this test"  # of a broker that is gone afterwards

#: Starts a broker with these properties.
Starter = Callable[[Mapping[str, str]], KafkaServer]


@dataclass(frozen=True)
class SecuredKafka:
    """A running broker, and the files that a client needs."""

    server: KafkaServer
    authority: Path
    certificate: Path
    key: Path

    @property
    def description(self) -> str:
        """Which Kafka it is."""
        return self.server.description

    def stop(self) -> None:
        """End the broker."""
        self.server.stop()


def start_secured(start_one: Starter, folder: Path) -> SecuredKafka:
    """A broker with SASL over TLS that also asks for a client's certificate. It knows one user, by PLAIN, and SCRAM.

    Raises:
        Unavailable: No Kafka can be started here, or there is no OpenSSL.
    """
    if shutil.which("openssl") is None:
        raise Unavailable("no openssl to make certificates with")
    authority = _make_authority(folder)
    broker, client = _issue(folder, "broker"), _issue(folder, "client")
    properties = {
        "listener.security.protocol.map": "PLAINTEXT:SASL_SSL,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": ",".join(("PLAIN", *MECHANISMS)),
        "listener.name.plaintext.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule "
        f'required user_{USER}="{PASSWORD}";',
        **{
            f"listener.name.plaintext.{mechanism.lower()}.sasl.jaas.config": "org.apache.kafka.common.security.scram."
            "ScramLoginModule required;"
            for mechanism in MECHANISMS
        },
        "listener.name.plaintext.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": _one_line(broker[0]),
        "ssl.keystore.key": _one_line(broker[1]),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": _one_line(authority),
    }

    return SecuredKafka(start_one(properties), authority, *client)


def _make_authority(folder: Path) -> Path:
    certificate = folder / "authority.pem"
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", "/CN=a company",
        "-keyout", str(folder / "authority.key"), "-out", str(certificate),
    )  # fmt: skip
    return certificate


def _issue(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate and key of the authority, good for this machine's names."""
    certificate, key, request = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.csr"
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl(
        "req", "-new", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request)
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", str(request), "-days", "2", "-CA", str(folder / "authority.pem"),
        "-CAkey", str(folder / "authority.key"), "-extfile", str(names), "-out", str(certificate),
    )  # fmt: skip
    return certificate, key


def _openssl(*arguments: str) -> None:
    made = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, timeout=30)
    if made.returncode:
        raise Unavailable(f"openssl {arguments[0]} failed: {made.stderr[-200:]}")


def _one_line(path: Path) -> str:
    """PEM as the value of a Java property."""
    return path.read_text().strip().replace("\n", "\\n")
