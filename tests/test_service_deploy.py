"""What can be checked of the files in deploy/ without a container engine."""

import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from fixtures_bot import Painter
from sdlesson.bot_service.configuration import (
    Configuration,
    ConfigurationError,
    load_configuration,
)
from sdlesson.bot_service.metrics import GpuMemory, MeasuredGenerator, Metrics
from sdlesson.bot_service.models.metrics import ModelMetrics
from sdlesson.bot_service.workers.__main__ import WorkerConfiguration
from test_service_metrics import TwoGpus

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
METRIC = re.compile(r"\b(?:sdlesson|process)_[a-z_]+")


class FewWorkers:
    lost = 0

    def workers_alive(self):
        return 1


@pytest.fixture
def exposed(monkeypatch):
    """The names of all series that a bot and a worker with a GPU offer to Prometheus."""
    monkeypatch.setattr("sdlesson.bot_service.metrics._open_nvml", TwoGpus)
    counted, workers = Metrics(), CollectorRegistry()
    counted.watch_workers(FewWorkers())
    ModelMetrics(counted.registry)
    for name in ("sdlesson_queue_length", "sdlesson_drawing"):  # as health.serve names them
        counted.watch(name, name, int)
    MeasuredGenerator(Painter(), workers)
    workers.register(GpuMemory())
    there = set()
    for family in [*counted.registry.collect(), *workers.collect()]:
        ends = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_sum", "_count"],
        }.get(family.type, [""])
        there |= {family.name + end for end in ends}
    return there


def test_alerts_and_dashboard_ask_only_for_what_there_is(exposed):
    alerts = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    asked = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for expression in asked for name in METRIC.findall(expression)}
    assert len(names) > 15
    assert names - exposed == set()


def test_each_alert_says_how_urgent_it_is_and_what_to_do():
    alerts = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    for rule in (rule for group in alerts["groups"] for rule in group["rules"]):
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]


def test_prometheus_takes_its_files_and_alerts_fire_when_they_should():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            [promtool, *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def manifests():
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [one for file in files for one in yaml.safe_load_all(file.read_text())]


def test_bot_and_workers_are_deployments_of_their_own_and_only_the_bot_sees_the_token():
    deployments = {
        one["metadata"]["name"]: one for one in manifests() if one["kind"] == "Deployment"
    }
    assert deployments.keys() == {"bot", "worker", "redis"}
    assert deployments["bot"]["spec"]["replicas"] == 1
    assert deployments["bot"]["spec"]["strategy"] == {"type": "Recreate"}
    worker = deployments["worker"]["spec"]["template"]["spec"]
    (secret,) = [volume["secret"] for volume in worker["volumes"] if "secret" in volume]
    assert [item["key"] for item in secret["items"]] == ["redis_url"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert compose["services"]["worker"]["secrets"] == ["redis_url"]
    assert "token" in compose["services"]["bot"]["secrets"]


def test_every_container_is_locked_down_and_every_image_has_a_version():
    for one in manifests():
        if one["kind"] != "Deployment":
            continue
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert container["resources"]["limits"]["memory"]
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert ":" in service["image"], name
        assert service["restart"] == "unless-stopped", f"{name} would not outlive a reboot"


def test_several_models_are_offered_by_bot_and_workers_alike(monkeypatch, tmp_path):
    """As compose.models.yaml hands on what .env says, with the guide's own example."""
    services = yaml.safe_load((DEPLOY / "compose.models.yaml").read_text())["services"]
    assert services["bot"] == services["worker"]
    for guide, lora in (("GUIDE.md", "hat"), ("GUIA.md", "sombrero")):
        written = dict(re.findall(r"^#   (\w+)='(.+)'$", (DEPLOY / guide).read_text(), re.M))
        for name, value in services["bot"]["environment"].items():
            monkeypatch.setenv(name, written[value.strip("${}")])
        found = load_configuration(kind=WorkerConfiguration)
        assert found.models[0] == "pocket"
        assert found.loras.keys() == {lora}
        assert sum(found.ab_share.values()) == pytest.approx(1)


def test_settings_that_the_environment_file_proposes_reach_bot_and_workers(monkeypatch):
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert services["bot"]["env_file"] == services["worker"]["env_file"] == ".env"
    example = (DEPLOY / ".env.example").read_text()
    for name, value in re.findall(r"^#(SDLESSON_BOT_\w+)='?(.*?)'?$", example, re.M):
        monkeypatch.setenv(name, value)
    found = load_configuration(kind=WorkerConfiguration)
    assert found.admins == (123456789,)
    assert found.allowed_users == (123456789, 987654321)
    assert found.daily_quota == 50


def test_what_the_example_of_a_configuration_proposes_is_one(tmp_path):
    example = (DEPLOY / "systemd" / "bot.toml.example").read_text()
    proposed = re.sub(r"^#   ", "", example.replace('\nmodels = ["pocket"]\n', "\n"), flags=re.M)
    path = tmp_path / "bot.toml"
    path.write_text(proposed)
    found = load_configuration(path, kind=WorkerConfiguration)
    assert found.loras["hat"].model == found.models[0]
    assert found.ab_share[found.models[1]] == 0.2
    assert found.controlnets[found.models[1]] == "default"


def test_a_backup_is_whole_while_the_bot_writes_and_the_oldest_go(tmp_path):
    if shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed (Debian: apt install sqlite3)")
    database, folder = tmp_path / "bot.db", tmp_path / "copies"
    folder.mkdir()
    for number in range(20):
        (folder / f"bot-20200101T0000{number:02}Z.db.gz").touch()
    with sqlite3.connect(database) as writing:
        writing.execute("PRAGMA journal_mode=WAL")
        writing.execute("CREATE TABLE jobs (id)")
        writing.execute("INSERT INTO jobs VALUES ('kept')")
        writing.commit()
        writing.execute("INSERT INTO jobs VALUES ('under way')")
        subprocess.run([DEPLOY / "backup.sh", database, folder], check=True, capture_output=True)
    copies = sorted(folder.glob("*.db.gz"))
    assert len(copies) == 14
    subprocess.run(["gunzip", copies[-1]], check=True)
    assert sqlite3.connect(copies[-1].with_suffix("")).execute(
        "SELECT id FROM jobs"
    ).fetchall() == [("kept",)]


def test_a_damaged_database_leaves_the_earlier_backups_alone(tmp_path):
    if shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed (Debian: apt install sqlite3)")
    (tmp_path / "bot.db").write_bytes(b"no database at all" * 400)
    (tmp_path / "copies").mkdir()
    earlier = tmp_path / "copies" / "bot-20200101T000000Z.db.gz"
    earlier.touch()
    command = [DEPLOY / "backup.sh", tmp_path / "bot.db", tmp_path / "copies"]
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0
    assert earlier.exists()


def test_every_setting_in_these_files_is_one_that_the_service_reads():
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    named = {
        name.removesuffix("_FILE").lower() for name in re.findall(r"SDLESSON_BOT_([A-Z_]+)", text)
    }
    assert len(named) > 8
    assert named - {"config"} - set(Configuration.model_fields) == set()


def test_the_example_of_a_configuration_is_one_and_a_worker_needs_no_token():
    path = DEPLOY / "systemd" / "bot.toml.example"
    configuration = load_configuration(path, kind=WorkerConfiguration)
    assert configuration.generator == "celery"
    assert not configuration.token.get_secret_value()
    with pytest.raises(ConfigurationError, match="token"):
        load_configuration(path)


def test_what_the_example_leaves_out_can_be_taken_in(tmp_path):
    text = (DEPLOY / "systemd" / "bot.toml.example").read_text(encoding="utf-8")
    path = tmp_path / "bot.toml"
    path.write_text(re.sub(r"^#(?=\w+ = )", "", text, flags=re.M), encoding="utf-8")
    found = load_configuration(path, kind=WorkerConfiguration)
    assert found.ldap_url
    assert found.moderation_url
    with pytest.raises(ConfigurationError, match="token is missing"):
        load_configuration(path)


@pytest.mark.parametrize("what", ["login", "moderation"])
def test_what_is_added_to_compose_and_systemd_brings_each_secret_it_names(what):
    added = yaml.safe_load((DEPLOY / f"compose.{what}.yaml").read_text())
    bot, secrets = added["services"]["bot"], added["secrets"]
    named = {name for name in bot["environment"] if name.endswith("_FILE")}
    assert {f"/run/secrets/{name}" for name in bot["secrets"]} == {
        bot["environment"][name] for name in named
    }
    assert set(bot["secrets"]) == set(secrets)
    unit = (DEPLOY / "systemd" / f"{what}.conf").read_text()
    assert set(re.findall(r"LoadCredential=(\w+):", unit)) == set(secrets)
    assert set(re.findall(r"Environment=(\w+)=", unit)) == named
    known = (DEPLOY / ".env.example").read_text()
    for variable in re.findall(r"\$\{(\w+)", str(bot["environment"])):
        assert re.search(rf"^{variable}=", known, re.M), variable


def test_both_guides_say_the_same_steps():
    guides = [(DEPLOY / name).read_text(encoding="utf-8") for name in ("GUIDE.md", "GUIA.md")]
    told = [
        (
            len(re.findall(r"^## ", guide, re.M)),
            len(re.findall(r"^\|", guide, re.M)),
            [re.sub(r"\s*#.*|COPY|COPIA", "", line) for line in commands(guide)],
        )
        for guide in guides
    ]
    assert told[0] == told[1]


def commands(guide):
    return [
        line for block in re.findall(r"```sh\n(.*?)```", guide, re.S) for line in block.splitlines()
    ]


def test_no_secret_can_be_committed_or_copied_into_an_image():
    assert "/secrets/" in (DEPLOY / ".gitignore").read_text().split()
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in allowed
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.M)
    for name in " ".join(copied).split():
        assert f"!{name}" in allowed
