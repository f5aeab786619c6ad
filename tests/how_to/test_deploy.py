"""The files in deploy/: each is read as its program reads it, and names only what exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from antiphon.cli.serve import command as serve
from antiphon.observe.metrics import METRICS
from programs import needs_program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
sys.path.insert(0, str(ROOT / "scripts"))
import dashboard  # noqa: E402

OTHERS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "up"}
"""Metrics of the Python client library, and of Prometheus itself."""


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def metric_names(registry: CollectorRegistry) -> set[str]:
    found: set[str] = set()
    for metric in registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(metric.type, [""])
        found |= {metric.name + suffix for suffix in suffixes}
    return found


def named_in(expression: str) -> set[str]:
    return set(re.findall(r"\b((?:antiphon|process)_\w+|up)\b", expression))


def serve_options() -> set[str]:
    return {name for option in serve.params for name in option.opts}


def test_every_metric_of_the_alerts_and_the_dashboard_exists() -> None:
    known = metric_names(METRICS.registry) | OTHERS
    (alerts,) = documents("prometheus/alerts.yml")
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        assert named_in(rule["expr"]) <= known, rule["alert"]
        assert {"summary", "description"} <= rule["annotations"].keys()
    shown = json.loads((DEPLOY / "grafana" / "antiphon.json").read_text())
    for panel in shown["panels"]:
        for target in panel["targets"]:
            assert named_in(target["expr"]), panel["title"]
            assert named_in(target["expr"]) <= known, panel["title"]


def test_the_dashboard_is_fresh() -> None:
    assert dashboard.FILE.read_text() == dashboard.made(), "run ./dev exec python scripts/dashboard.py"


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes/antiphon.yaml"])
def test_the_options_of_serve_exist(name: str) -> None:
    used = set(re.findall(r"^\s*- (--[a-z-]+)=", (DEPLOY / name).read_text(), re.MULTILINE))
    assert {"--data", "--host", "--port"} <= used <= serve_options()


def test_containers_have_no_rights_that_they_do_not_need() -> None:
    (compose,) = documents("compose.yaml")
    replicas = [service for name, service in compose["services"].items() if name.startswith("replica")]
    assert len(replicas) == 3
    for service in replicas:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["stop_grace_period"] == "30s"
    pod = documents("kubernetes/antiphon.yaml")[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    docker = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^USER 10001$", docker, re.MULTILINE)
    assert "HEALTHCHECK" in docker


def test_kubernetes_documents_belong_together() -> None:
    found = {document["kind"]: document for document in documents("kubernetes/antiphon.yaml")}
    assert set(found) == {"Deployment", "Service", "PodDisruptionBudget", "Ingress"}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    (rule,) = found["Ingress"]["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == found["Service"]["metadata"]["name"]


def test_nginx_of_compose_differs_from_the_example_in_addresses_only() -> None:
    def body(path: Path) -> str:
        text = path.read_text()
        text = text[text.index("    upstream antiphon") :]
        return re.sub(r"(server|listen) (?:[\w.-]+:)?\d+", r"\1 ADDRESS", text)

    assert body(DEPLOY / "nginx.conf") == body(ROOT / "examples" / "replicas" / "nginx.conf")


def test_the_unit_starts_serve_with_options_that_exist() -> None:
    started = re.search(r"^ExecStart=\S+ serve (.*)$", (DEPLOY / "antiphon.service").read_text(), re.MULTILINE)
    assert started
    assert set(re.findall(r"--[a-z-]+", started[1])) <= serve_options()


@needs_program("systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "antiphon.service"
    unit.write_text((DEPLOY / "antiphon.service").read_text().replace("/usr/local/bin/antiphon", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "antiphon.service" not in done.stderr, done.stderr
