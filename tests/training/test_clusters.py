"""The scripts of docs/clusters.md, run with stand-ins for `srun` and the pod's environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DOCS = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
RECORD = """#!{python}
import json, os, sys
print(json.dumps({{"arguments": sys.argv[1:], "cluster": os.environ.get("TF_CONFIG")}}))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH whose `zoo` tells what it was called with, and whose `srun` runs its command."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "zoo").write_text(RECORD.format(python=sys.executable))
    (binaries / "srun").write_text('#!/bin/bash\nshift\nexec "$@"\n')
    for path in binaries.iterdir():
        path.chmod(0o755)
    return {"PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def _accepted(arguments: list[str]) -> None:
    """The real command knows every option: it complains only of a missing run or cluster."""
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *arguments, "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_slurm_script(environment: dict[str, str], tmp_path: Path) -> None:
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", DOCS, re.DOTALL)
    for resumed in (False, True):
        if resumed:
            (tmp_path / "runs" / "dcgan").mkdir(parents=True)
            (tmp_path / "runs" / "dcgan" / "model.keras").touch()
        done = subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        arguments = json.loads(done.stdout)["arguments"]
        assert arguments[:2] == ["train", "dcgan"]
        assert ("--resume" in arguments) == resumed
        _accepted(arguments)


def test_kubernetes_job(environment: dict[str, str]) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    service, job = yaml.safe_load_all(text)
    pod = job["spec"]["template"]["spec"]
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert job["spec"]["completionMode"] == "Indexed"
    (worker,) = pod["containers"]
    workers = job["spec"]["completions"]
    for index in range(workers):
        done = subprocess.run(
            [*worker["command"], *worker["args"]],
            env={**environment, "JOB_COMPLETION_INDEX": str(index)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        called = json.loads(done.stdout)
        config = json.loads(called["cluster"])
        assert config["task"] == {"type": "worker", "index": index}
        name = job["metadata"]["name"]
        assert config["cluster"]["worker"] == [
            f"{name}-{i}.{service['metadata']['name']}:12355" for i in range(workers)
        ]
        _accepted(called["arguments"])
