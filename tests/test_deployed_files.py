"""Every file that another program reads is read here by that program's parser, and says what the worker needs."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dotenv import dotenv_values

from config import ALIASES, known

HOME = Path(__file__).resolve().parents[1]
UNIT = HOME / "deploy" / "iwm5vwap.service"
FOREIGN = {"PYTHON_VERSION", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}

# The part of Render's published schema (https://render.com/schema/render.yaml.json) that a server with a disk can use, made from its
# documentation: not the file itself, which is the vendor's.
TEXT = {"type": "string"}
RENDER = {
    "type": "object",
    "required": ["services"],
    "additionalProperties": False,
    "properties": {
        "services": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/server"}},
        "databases": {"type": "array"},
        "envVarGroups": {"type": "array"},
        "previews": {"type": "object"},
        "version": TEXT,
    },
    "$defs": {
        "server": {
            "type": "object",
            "required": ["type", "name", "runtime", "buildCommand", "startCommand"],
            "additionalProperties": False,
            "properties": {
                "type": {"enum": ["web", "worker", "pserv"]},
                "name": TEXT,
                "runtime": {"enum": ["docker", "elixir", "go", "image", "node", "python", "ruby", "rust"]},
                "plan": {"enum": ["free", "starter", "standard", "pro", "pro plus", "pro max", "pro ultra"]},
                "region": {"enum": ["oregon", "ohio", "frankfurt", "singapore", "virginia"]},
                "numInstances": {"type": "integer", "minimum": 1, "maximum": 100},
                "autoDeploy": {"type": "boolean"},
                "autoDeployTrigger": {"enum": ["off", "commit", "checksPass"]},
                "maxShutdownDelaySeconds": {"type": "integer", "minimum": 1, "maximum": 300},
                "healthCheckPath": {"type": "string", "pattern": "^/"},
                **dict.fromkeys(("repo", "branch", "rootDir", "buildCommand", "startCommand", "preDeployCommand"), TEXT),
                "disk": {
                    "type": "object",
                    "required": ["name", "mountPath"],
                    "additionalProperties": False,
                    "properties": {
                        "name": TEXT,
                        "mountPath": {"type": "string", "pattern": "^/."},
                        "sizeGB": {"type": "integer", "minimum": 1},
                    },
                },
                "envVars": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["key"],
                        "additionalProperties": False,
                        "properties": {
                            "key": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                            "value": {"type": ["string", "number"]},
                            "sync": {"const": False},
                        },
                        "oneOf": [{"required": ["value"]}, {"required": ["sync"]}],
                    },
                },
            },
            "allOf": [
                {"if": {"properties": {"type": {"const": "worker"}}}, "then": {"properties": {"healthCheckPath": False}}},
                {"if": {"required": ["disk"]}, "then": {"properties": {"numInstances": {"maximum": 1}}}},
            ],
        }
    },
}


def blueprint(text: str) -> dict[str, Any]:
    found = yaml.safe_load(text)
    jsonschema.validate(found, RENDER)
    assert isinstance(found, dict)
    return found


def test_renders_blueprint_is_yaml_of_its_schema_and_keeps_the_ledger_on_its_disk() -> None:
    (worker,) = blueprint((HOME / "render.yaml").read_text())["services"]
    given = {row["key"]: row.get("value") for row in worker["envVars"]}
    assert set(given) <= {*known(), *ALIASES, *FOREIGN}
    assert given["DATA_DIR"] == worker["disk"]["mountPath"]
    assert all(isinstance(value, str | None) for value in given.values())
    assert [given[name] for name in ("POLYGON_API_KEY", "PUSHOVER_TOKEN", "PUSHOVER_USER_KEY")] == [None] * 3
    assert worker["startCommand"] == "python main.py"
    assert "--require-hashes" in worker["buildCommand"]
    assert re.fullmatch(r"3\.1[1-4]\.\d+", given["PYTHON_VERSION"] or "")


def test_the_web_service_that_the_blueprint_describes_is_one_too() -> None:
    """The comment at its end is what somebody will paste."""
    text = (HOME / "render.yaml").read_text()
    (worker,) = blueprint(text)["services"]
    lines = [line[4:] for line in text.splitlines() if line.startswith("#   ")]
    (web,) = yaml.safe_load("\n".join(line for line in lines if "..." not in line))
    whole = {**worker, **web, "envVars": worker["envVars"] + web["envVars"]}
    jsonschema.validate({"services": [whole]}, RENDER)
    assert {row["key"] for row in web["envVars"]} <= set(known())


def test_a_blueprint_that_is_wrong_is_noticed() -> None:
    text = (HOME / "render.yaml").read_text()
    for wrong in (
        text.replace('buildCommand: "', "buildCommand: ").replace('requirements.lock"', "requirements.lock"),
        text.replace("sizeGB: 2", "sizeGb: 2"),
        text.replace("type: worker", "type: job"),
        text.replace("    plan: starter", "    plan: starter\n    healthCheckPath: /ready"),
        text.replace("numInstances: 1", "numInstances: 2"),
        text.replace("sync: false", "sync: true"),
    ):
        assert wrong != text
        with pytest.raises((yaml.YAMLError, jsonschema.ValidationError)):
            blueprint(wrong)


def test_the_compose_file_gives_the_worker_a_volume_time_to_stop_and_nothing_else_to_write() -> None:
    found = yaml.safe_load((HOME / "compose.yaml").read_text())
    worker = found["services"]["worker"]
    known = {
        "build", "image", "env_file", "environment", "volumes", "restart", "stop_grace_period", "read_only", "tmpfs",
        "cap_drop", "security_opt", "ulimits", "logging",
    }  # fmt: skip
    assert set(worker) <= known
    (volume,) = worker["volumes"]
    name, _, place = volume.partition(":")
    assert name in found["volumes"]
    assert worker["environment"]["DATA_DIR"] == place
    assert worker["read_only"] is True
    assert worker["tmpfs"] == ["/tmp"]
    assert int(worker["stop_grace_period"].removesuffix("s")) >= 30
    assert worker["restart"] == "on-failure"


def test_the_image_installs_by_hash_runs_as_nobody_and_keeps_no_secret() -> None:
    text = (HOME / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {name for name, _ in steps} <= {
        "FROM",
        "ENV",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "VOLUME",
        "STOPSIGNAL",
        "ENTRYPOINT",
    }
    words = dict(steps)
    assert re.fullmatch(r"python:3\.1[1-4]-slim-\w+", words["FROM"])
    assert "--require-hashes --only-binary :all: -r requirements.lock" in words["RUN"]
    assert json.loads(words["ENTRYPOINT"]) == ["python", "main.py"]
    order = [name for name, _ in steps]
    assert order.index("RUN") < order.index("USER") < order.index("ENTRYPOINT")
    assert words["USER"] in words["RUN"]
    assert f"DATA_DIR={words['VOLUME']}" in words["ENV"]
    kept_out = (HOME / ".dockerignore").read_text().splitlines()
    assert {"**/.env", "data", "**/.git"} <= set(kept_out)


def test_the_unit_is_one_that_systemd_takes() -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    state = f"/var/lib/{service['StateDirectory']}"
    assert f"DATA_DIR={state}" in service["Environment"].split()
    assert service["ExecStart"].endswith(" main.py")
    assert service["RestartPreventExitStatus"].split() == ["65", "75", "78"]
    assert int(service["TimeoutStopSec"]) >= 30


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Its program is put where the unit looks for it, for systemd asks whether it is there."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("ExecStart=/opt/iwm-5-vwap/.venv/bin/python", "ExecStart=/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    told = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert (done.returncode, told) == (0, [])


def test_the_example_of_settings_is_read_by_dotenv_and_by_the_worker_alike(tmp_path: Path) -> None:
    from config import read_file

    by_dotenv = dotenv_values(HOME / ".env.example")
    assert read_file(HOME / ".env.example") == by_dotenv == dict.fromkeys(by_dotenv, "")
    opened = tmp_path / ".env"
    opened.write_text(re.sub(r"^# (?=[A-Z0-9_]+=)", "", (HOME / ".env.example").read_text(), flags=re.MULTILINE))
    assert set(read_file(opened)) == set(known())


def test_the_project_file_names_programs_that_exist_and_the_pythons_that_readme_promises() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    versions = {text.rsplit(" ", 1)[1] for text in project["classifiers"] if "Python :: 3." in text}
    assert versions == {"3.11", "3.12", "3.13", "3.14"}
    assert "3.11 to 3.14" in (HOME / "README.md").read_text()
    assert project["requires-python"] == ">=3.11"
    for target in project["scripts"].values():
        module, _, function = target.partition(":")
        file = HOME / f"{module.replace('.', '/')}.py"
        assert re.search(rf"^def {function}\(arguments: list\[str\] \| None = None\)", file.read_text(), re.MULTILINE), (
            target
        )
