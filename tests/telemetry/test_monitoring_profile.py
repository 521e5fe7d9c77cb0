"""The compose profile ``monitoring``: the files that Prometheus and Grafana are given fit each other and the services.

Read as text, because neither a Docker engine nor a YAML parser is among what the tests need.
"""

from __future__ import annotations

import re
from typing import Final

from tests.architecture.sources import ROOT

COMPOSE: Final = (ROOT / "docker-compose.yml").read_text()
PROMETHEUS: Final = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
GRAFANA: Final = ROOT / "deploy/grafana"


def _services() -> dict[str, str]:
    """The text of each service by name."""
    section = COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    parts = re.split(r"^  ([a-z]+):\n", section, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _mounts(service: str) -> dict[str, str]:
    """Files and folders of this repository by their place in the container."""
    return {target: source for source, target in re.findall(r"- \./(\S+?):(/\S+?):ro", _services()[service])}


def test_prometheus_finds_its_rules_and_every_process() -> None:
    """What it loads is mounted there, and it asks services of the file at ports on which they serve metrics."""
    mounts = _mounts("prometheus")
    assert mounts.keys() == {"/etc/prometheus/prometheus.yml", "/etc/prometheus/alerts.yml"}
    assert [source for source in mounts.values() if not (ROOT / source).is_file()] == []
    (rules,) = re.findall(r"rule_files: \[(\S+)\]", PROMETHEUS)
    assert rules in mounts
    services = _services()
    asked = dict(re.findall(r"\[(\w+):(\d+)\]", PROMETHEUS))
    ((worker, port),) = re.findall(r"names: \[(\w+)\], type: A, port: (\d+)", PROMETHEUS)
    assert f'ORDERFLOW_HEALTH_PORT: "{port}"' in COMPOSE
    assert asked.keys() | {worker} == {"worker", "relay", "simulator"} <= services.keys()
    for name, number in asked.items():
        assert f'--port, "{number}"' in services[name]


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    """Its source of data is the service beside it, and the folder of its provider is the one that is mounted."""
    mounts = _mounts("grafana")
    assert [source for source in mounts.values() if not (ROOT / source).is_dir()] == []
    source = (GRAFANA / "provisioning/datasources/prometheus.yml").read_text()
    assert re.findall(r'url: "http://(\w+):9090"', source) == ["prometheus"]
    assert "127.0.0.1:9090:9090" in _services()["prometheus"]
    provider = (GRAFANA / "provisioning/dashboards/orderflow.yml").read_text()
    (folder,) = re.findall(r"options: \{path: (\S+?)\}", provider)
    (home,) = re.findall(r"HOME_DASHBOARD_PATH: (\S+)", COMPOSE)
    assert folder in mounts
    assert home.startswith(f"{folder}/")
    assert (ROOT / mounts[folder] / home.removeprefix(f"{folder}/")).is_file()


def test_the_profile_starts_both_and_nothing_of_it_without_being_asked() -> None:
    """Only services of the profile carry it, and they listen on this machine alone."""
    services = _services()
    assert {name for name, text in services.items() if "profiles: [monitoring]" in text} == {"prometheus", "grafana"}
    ports = [port for name in ("prometheus", "grafana") for port in re.findall(r'ports: \["(\S+?)"\]', services[name])]
    assert [port.startswith("127.0.0.1:") for port in ports] == [True, True]
