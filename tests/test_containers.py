"""What the files of docker/ promise; no engine is needed."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT
from xrt.cli.parsers import main_parser
from xrt.serve.options import ServeOptions

DOCKER = ROOT / "docker"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DOCKER / name).read_text()))


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    return documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]


def test_the_pod_is_not_root_and_writes_to_its_scratch_only(pod):
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["models"]["readOnly"] is True
    assert mounts["scratch"]["mountPath"] == "/tmp"
    assert {volume["name"] for volume in pod["volumes"]} == set(mounts)
    assert set(container["resources"]) == {"requests", "limits"}


def test_probes_ask_what_the_server_answers(pod):
    from xrt.serve.routes.service import router

    (container,) = pod["containers"]
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "readiness", "liveness")
    }
    assert paths == {
        "startup": "/health/ready", "readiness": "/health/ready", "liveness": "/health/live",
    }  # fmt: skip
    assert set(paths.values()) <= {route.path for route in router.routes}
    assert "/metrics" in {route.path for route in router.routes}


def test_the_service_leads_to_the_pods():
    deployment, service = documents("kubernetes.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    (port,) = service["spec"]["ports"]
    names = {p["name"] for p in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert port["targetPort"] in names


def test_a_server_has_time_to_drain(pod):
    grace = ServeOptions({}).grace
    (serve,) = [documents("compose.yaml")[0]["services"]["serve"]]
    assert pod["terminationGracePeriodSeconds"] >= grace + 5
    assert int(serve["stop_grace_period"].removesuffix("s")) >= grace + 5


def test_compose_is_read_only_and_keeps_the_key_out_of_the_command():
    (compose,) = documents("compose.yaml")
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["user"].split(":")[0] not in ("0", "root")
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert set(service["secrets"]) <= set(compose["secrets"])
    (scrape,) = documents("prometheus.yml")[0]["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["serve:8000"]}]
    assert scrape["authorization"]["credentials_file"] == "/run/secrets/serve-key"


def test_the_commands_are_ones_that_xrt_serve_takes(pod):
    dockerfile = (DOCKER / "serve.Dockerfile").read_text()
    default = re.search(r"^CMD (\[.*\])", dockerfile, re.MULTILINE)
    assert default is not None
    for words in (
        yaml.safe_load(default[1]),
        pod["containers"][0]["args"],
        documents("compose.yaml")[0]["services"]["serve"]["command"],
    ):
        arguments = main_parser().parse_args(["serve", *words])
        assert (arguments.host, arguments.port) == ("0.0.0.0", 8000)


def test_the_health_check_needs_no_curl_and_fails_where_the_server_is_not_ready():
    dockerfile = (DOCKER / "serve.Dockerfile").read_text()
    command = yaml.safe_load(dockerfile.partition("CMD [")[2].partition("\n")[0].join(["[", ""]))
    assert command[0] == "python"
    assert "/health/ready" in command[2]
    code = command[2].replace("127.0.0.1:8000", "127.0.0.1:9")  # nobody listens there
    run = subprocess.run([sys.executable, *command[1:2], code], capture_output=True)
    assert run.returncode == 1


@pytest.fixture
def fake_xrt(tmp_path) -> dict[str, str]:
    """An environment in which xrt tells what it was called with, and kernels lie in an image."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/xrt"
    fake.write_text('#!/bin/sh\necho "$NUMBA_CACHE_DIR" "$@"\n')
    fake.chmod(0o755)
    (tmp_path / "kernels/sub").mkdir(parents=True)
    (tmp_path / "kernels/sub/a.nbi").write_text("kernel")
    (tmp_path / "scratch").mkdir()
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "XRT_KERNELS": str(tmp_path / "kernels"),
        "TMPDIR": str(tmp_path / "scratch"),
    }


def test_the_entry_point_gives_kernels_a_private_folder(fake_xrt):
    for _ in range(2):  # a container that is started again finds them
        run = subprocess.run(
            [DOCKER / "serve-entrypoint", "/models/m", "--port", "1"],
            env=fake_xrt, capture_output=True, text=True, check=True,
        )  # fmt: skip
        place = Path(fake_xrt["TMPDIR"]) / "kernels"
        assert run.stdout == f"{place} serve /models/m --port 1\n"
        own = place / f"xrt-kernels-{os.geteuid()}"  # where xrt.jit looks
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert (own / "sub/a.nbi").read_text() == "kernel"


def test_the_entry_point_starts_without_a_place_to_write(fake_xrt, tmp_path):
    (tmp_path / "file").write_text("")
    run = subprocess.run(
        [DOCKER / "serve-entrypoint", "m"],
        env={**fake_xrt, "TMPDIR": str(tmp_path / "file")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.endswith("serve m\n")
    assert "compiled now" in run.stderr
