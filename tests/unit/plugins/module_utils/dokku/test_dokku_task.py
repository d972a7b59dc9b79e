# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.multiregion.paas.plugins.module_utils._dokku import apply
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.command import SshTarget
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.errors import (
    BadDeclaration,
    CommandFailed,
    DeployFailed,
    DokkuUnavailable,
)
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.info import reports
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.model import PENDING_KEY
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.run import Task, shown
from ansible_collections.multiregion.paas.plugins.modules.dokku_app import ARGUMENTS
from fake_dokku import FakeDokku

IMAGE = "registry.test:5000/todo@sha256:" + "a" * 64
NEXT = "registry.test:5000/todo@sha256:" + "b" * 64
PAIR = {"cert_content": "-----BEGIN CERTIFICATE-----\n#one#\n-----END CERTIFICATE-----", "key_content": "secretkey #one#"}
WHOLE = {
    "name": "todo",
    "config": {"SECRET": "sesame-open", "WORKERS": 2, "DEBUG": False},
    "domains": ["todo.test", "us-east-1.todo.test"],
    "ports": ["http:80:5000", "https:443:5000"],
    "processes": {"web": 2},
    "checks": {"wait_to_retire": 10},
    "nginx": {"client-max-body-size": "5m"},
    "certificate": PAIR,
    "storage": ["/etc/paas/ca:/etc/paas:ro", "uploads:/uploads"],
    "docker_options": {"deploy": ["--label x=y"]},
    "networks": {"attach_post_create": ["shared"]},
    "resources": {"default": {"limit": {"memory": "256m"}}},
    "restart_policy": "always",
    "builder": {"selected": "dockerfile"},
    "buildpacks": ["heroku/python"],
    "logs": {"max-size": "20m"},
    "deploy": {"image": IMAGE},
}
SET_UP = {"name": "todo", "ports": ["http:80:5000"], "deploy": {"image": IMAGE}}
UPGRADE = {**SET_UP, "deploy": {"image": NEXT}}


@pytest.fixture
def dokku() -> FakeDokku:
    return FakeDokku()


def run(dokku, check=False, **params):
    return Task(params, runner=dokku).run(check_mode=check)


def state(dokku):
    return {name: {key: value for key, value in vars(app).items() if key != "deploys"} for name, app in dokku.apps.items()}


def test_whole_app_then_nothing(dokku):
    first = run(dokku, **WHOLE)
    assert first["changed"] and first["restarted"]
    assert first["urls"] == ["http://todo.test", "http://us-east-1.todo.test", "https://todo.test", "https://us-east-1.todo.test"]
    assert first["release"] == {"source": IMAGE, "digest": "sha256:" + "a" * 64}
    app = dokku.apps["todo"]
    assert app.config["WORKERS"] == "2" and app.config["DEBUG"] == "false" and PENDING_KEY not in app.config
    assert app.deploys == 1
    assert app.env_running["SECRET"] == "sesame-open"
    dokku.log.clear()
    second = run(dokku, **WHOLE)
    assert second["changed"] is False and second["changes"] == [] and dokku.log == []


def test_check_mode_writes_nothing_and_tells_the_same(dokku):
    dry = run(dokku, check=True, **WHOLE)
    assert dokku.log == [] and dokku.apps == {}
    real = run(dokku, **WHOLE)
    assert (dry["changes"], dry["diff"], dry["restarted"]) == (real["changes"], real["diff"], real["restarted"])
    assert run(dokku, check=True, **WHOLE)["changed"] is False


def test_no_secret_in_words_diff_or_result(dokku):
    results = [run(dokku, **WHOLE), run(dokku, **{**WHOLE, "config": {**WHOLE["config"], "SECRET": "other-secret"}})]
    words = json.dumps([command.words for command in dokku.commands])
    answer = json.dumps([results, shown(WHOLE)])
    for secret in ("sesame-open", "other-secret", "secretkey"):
        assert secret not in words and secret not in answer
    assert "config.SECRET: (hidden, changed)" in results[1]["diff"]["after"]
    assert "WORKERS" not in results[1]["diff"]["after"]


def test_one_config_value_is_one_restart(dokku):
    run(dokku, **WHOLE)
    dokku.log.clear()
    app = dokku.apps["todo"]
    result = run(dokku, **{**WHOLE, "config": {**WHOLE["config"], "WORKERS": 3}})
    assert [line.split()[0] for line in dokku.log] == ["config:import", "ps:restart", "config:unset"]
    assert result["restarted"] and app.deploys == 2 and app.env_running["WORKERS"] == "3"


def test_everything_at_once_is_one_deploy(dokku):
    run(dokku, **SET_UP)
    deploys = dokku.apps["todo"].deploys
    run(dokku, **{**WHOLE, "deploy": {"image": NEXT}})
    assert dokku.apps["todo"].deploys == deploys + 1 and dokku.apps["todo"].running == NEXT


def test_restart_never_and_one_type(dokku):
    run(dokku, **SET_UP)
    assert run(dokku, **SET_UP, config={"A": "1"}, restart="never")["restarted"] is False
    run(dokku, **SET_UP, config={"A": "2"}, restart="worker")
    dokku.apps["todo"].config[PENDING_KEY] = "restart"  # a run that was killed
    run(dokku, name="todo", nginx={"hsts": False}, restart="never")
    assert "restart" in dokku.apps["todo"].config[PENDING_KEY]
    assert run(dokku, name="todo")["restarted"] and PENDING_KEY not in dokku.apps["todo"].config
    assert "ps:restart todo worker" in dokku.log


def test_not_given_is_not_touched_and_empty_is_empty(dokku):
    run(dokku, **WHOLE)
    before = copy.deepcopy(state(dokku))
    run(dokku, name="todo")
    assert state(dokku) == before
    empty = {"domains": [], "ports": [], "storage": [], "docker_options": {"deploy": []}, "certificate": {}, "buildpacks": []}
    result = run(dokku, name="todo", **empty, resources={"default": {"limit": {}}})
    app = dokku.apps["todo"]
    assert result["changed"]
    assert (app.domains, app.ports, app.mounts, app.named, app.options["deploy"], app.crt, app.buildpacks, app.resources) == ([], [], [], {}, [], None, [], {})


def filled(**params):
    """As Ansible hands them over: what is not given in a mapping is there without a value."""
    found = ArgumentSpecValidator(ARGUMENTS).validate(params)
    assert not found.error_messages
    return found.validated_parameters


def test_empty_resources_are_no_limits_and_no_reservations(dokku):
    run(dokku, **SET_UP, resources={"default": {"limit": {"memory": "1g"}, "reserve": {"cpu": 1}}, "web": {"limit": {"cpu": 2}}})
    app = dokku.apps["todo"]
    run(dokku, **filled(name="todo", resources={"web": {}}))
    assert app.resources == {"_default_.limit.memory": "1g", "_default_.reserve.cpu": "1"}
    result = run(dokku, **filled(name="todo", resources={}))
    assert result["restarted"] and app.resources == {}
    assert result["changes"] == ["resources: _default_.limit.memory=clear, _default_.reserve.cpu=clear"]
    assert run(dokku, **filled(name="todo", resources={}))["changed"] is False


def test_empty_docker_options_are_only_those_of_plugins(dokku):
    run(dokku, **SET_UP, docker_options={"deploy": ["--label x=y"], "deploy.web": ["--init"], "run": ["--tty"], "build": ["--pull"]})
    app = dokku.apps["todo"]
    link = "--link dokku.postgres.main:dokku-postgres-main"
    for slot in ("build", "deploy", "run"):
        app.options[slot].append(link)
    assert run(dokku, **filled(name="todo", docker_options={}))["restarted"]
    assert app.options == {"build": [link], "deploy": [link], "run": [link], "deploy.web": []}
    assert run(dokku, **filled(name="todo", docker_options={}))["changed"] is False


def test_empty_networks_are_all_unset(dokku):
    every = {"attach_post_create": ["a"], "attach_post_deploy": ["b"], "initial_network": "c", "bind_all_interfaces": True}
    run(dokku, **filled(**SET_UP, networks=every))
    app = dokku.apps["todo"]
    run(dokku, **filled(name="todo", networks={"attach_post_create": []}))
    assert app.network == {"attach-post-create": "", "attach-post-deploy": "b", "initial-network": "c", "bind-all-interfaces": "true"}
    assert run(dokku, **filled(name="todo", networks={}))["restarted"]
    assert set(app.network.values()) == {""}
    assert run(dokku, **filled(name="todo", networks={}))["changed"] is False


def test_empty_checks_are_dokkus_own(dokku):
    run(dokku, **filled(name="todo", checks={"disabled": ["worker"], "skipped": ["web"], "wait_to_retire": 5}))
    app = dokku.apps["todo"]
    run(dokku, **filled(name="todo", checks={"wait_to_retire": 6}))
    assert (app.disabled, app.skipped, app.wait) == (["worker"], ["web"], "6")
    assert run(dokku, **filled(name="todo", checks={}))["changed"]
    assert (app.disabled, app.skipped, app.wait) == ([], [], "")
    assert run(dokku, **filled(name="todo", checks={}))["changed"] is False


def test_empty_builder_is_detected(dokku):
    run(dokku, **filled(name="todo", builder={"selected": "dockerfile", "build_dir": "app", "dockerfile_path": "docker/Dockerfile"}))
    app = dokku.apps["todo"]
    run(dokku, **filled(name="todo", builder={"build_dir": "src"}))
    assert app.builder == {"selected": "dockerfile", "build-dir": "src", "dockerfile-path": "docker/Dockerfile"}
    run(dokku, **filled(name="todo", builder={}))
    assert set(app.builder.values()) == {""}
    assert run(dokku, **filled(name="todo", builder={}))["changed"] is False


def test_empty_nginx_and_logs_leave_the_properties_alone(dokku):
    run(dokku, name="todo", nginx={"hsts": False}, logs={"max-size": "5m"})
    assert run(dokku, **filled(name="todo", nginx={}, logs={}))["changed"] is False


def test_config_exact_keeps_what_plugins_own(dokku):
    run(dokku, **SET_UP, config={"A": "1", "OLD": "2"})
    app = dokku.apps["todo"]
    app.config.update({"NO_VHOST": "0", "DATABASE_URL": "postgres://u:p@dokku-postgres-main:5432/main", "MAIL_URL": "smtp://mail.test"})
    run(dokku, **SET_UP, config={"A": "1", "GONE": None}, config_exact=True)
    assert sorted(app.config) == ["A", "DATABASE_URL", "GIT_REV", "NO_VHOST"]


def test_config_is_copied_without_what_belongs_to_its_place(dokku):
    run(dokku, name="old", config={"A": "1", "DATABASE_URL": "x", "HEROKU_APP": "y", "SENTRY_DSN": "z"})
    run(dokku, name="todo", config_from={"app": "old", "exclude": ["SENTRY_*"]}, config={"B": "2"})
    assert dokku.apps["todo"].config == {"A": "1", "B": "2"}
    run(dokku, name="todo", config_from={"values": {"A": "9", "GIT_REV": "1"}}, config={"A": "3"})
    assert dokku.apps["todo"].config == {"A": "3", "B": "2"}


# The contract's quirks, one by one.


def test_missing_app_is_exit_status_20(dokku):
    assert run(dokku, name="todo")["changes"] == ["created"]
    assert run(dokku, name="gone", state="absent")["changed"] is False


def test_same_image_again_is_rebuilt_when_it_is_not_what_runs(dokku):
    run(dokku, name="todo", ports=[])
    dokku.apps["todo"].git_image = IMAGE  # killed between the commit and the release
    run(dokku, **SET_UP)
    assert "ps:rebuild todo" in dokku.log and dokku.apps["todo"].running == IMAGE
    assert run(dokku, **SET_UP)["changed"] is False


def test_config_never_meets_dokkus_own_restart(dokku):
    run(dokku, **SET_UP, config={"A": "1"})
    dokku.restart_fails = True
    with pytest.raises(DeployFailed, match="restart of the app todo failed"):
        run(dokku, **SET_UP, config={"A": "2"})
    dokku.restart_fails = False
    healed = run(dokku, **SET_UP, config={"A": "2"})
    assert healed["restarted"] and dokku.apps["todo"].env_running["A"] == "2"
    assert run(dokku, **SET_UP, config={"A": "2"})["changed"] is False


def test_port_map_that_drifts_with_the_certificate(dokku):
    run(dokku, **SET_UP)
    dokku.log.clear()
    both = {**SET_UP, "ports": ["http:80:5000", "https:443:5000"], "certificate": PAIR}
    assert "ports: http:80:5000 https:443:5000" in run(dokku, **both)["changes"]
    assert [line.split()[0] for line in dokku.log] == ["certs:add"]  # Dokku added the port by itself
    assert run(dokku, **both)["changed"] is False
    only = {**both, "ports": ["http:80:5000"]}
    run(dokku, **only)
    assert dokku.apps["todo"].ports == ["http:80:5000"] and run(dokku, **only)["changed"] is False
    dokku.apps["todo"].ports.append("https:443:5000")
    dokku.log.clear()
    run(dokku, **{**SET_UP, "certificate": {}})
    assert [line.split()[0] for line in dokku.log] == ["certs:remove"] and dokku.apps["todo"].ports == ["http:80:5000"]


def test_domain_of_an_app_whose_domains_are_disabled(dokku):
    run(dokku, **SET_UP)
    app = dokku.apps["todo"]
    app.vhosts, app.domains = False, []
    run(dokku, **SET_UP, domains=["todo.test"])
    assert app.vhosts and app.domains == ["todo.test"]
    assert run(dokku, **SET_UP, domains=["todo.test"])["changed"] is False


def test_nginx_is_rebuilt_twice_at_the_most(dokku):
    run(dokku, **WHOLE)
    app = dokku.apps["todo"]
    assert dokku.rebuilds == 2 and app.nginx_built[:2] == (app.domains, app.ports)
    other = {"cert_content": PAIR["cert_content"].replace("one", "two"), "key_content": "secretkey #two#"}
    names = {"name": "todo", "domains": ["new.test"], "ports": ["http:80:5000", "http:81:5000"], "certificate": other}
    scaled = {"name": "todo", "domains": ["a.test"], "processes": {"web": 3}}
    for target in (names, {**WHOLE, "deploy": {"image": NEXT}}, {**names, "config": {"A": "1"}}, scaled):
        dokku.rebuilds = 0
        run(dokku, **target)
        assert 0 < dokku.rebuilds <= 2, target
        assert app.nginx_built == (app.domains, app.ports, app.crt) and not app.proxy["type"]
        assert run(dokku, **target)["changed"] is False


def test_rebuilds_are_not_held_back_for_ever(dokku):
    run(dokku, **WHOLE)
    app = dokku.apps["todo"]
    dokku.domains_set = lambda words, stdin: FakeDokku.apps_create(dokku, ["todo"], None)
    changed = {**WHOLE, "domains": ["new.test"], "ports": ["http:81:5000"], "config": {"A": "1"}}
    with pytest.raises(CommandFailed, match="set the domains"):
        run(dokku, **changed)
    assert app.proxy["type"] == ""
    del dokku.domains_set
    run(dokku, **changed)
    assert app.nginx_built == (["new.test"], ["http:81:5000"], app.crt)
    app.proxy["type"] = "dokku-app-holds"  # a run that was killed
    dokku.log.clear()
    assert run(dokku, **changed)["changes"] == ["rebuilt nginx, as a run before this one did not get to it"]
    assert app.proxy["type"] == "" and run(dokku, **changed)["changed"] is False
    app.proxy["type"] = "caddy"  # somebody's own choice
    run(dokku, **WHOLE)
    assert app.proxy["type"] == "caddy"


def test_mismatched_pair_is_never_installed(dokku):
    run(dokku, **SET_UP)
    dokku.log.clear()
    with pytest.raises(BadDeclaration, match="does not belong"):
        run(dokku, **SET_UP, certificate={**PAIR, "key_content": "secretkey #two#"})
    assert dokku.log == []
    app = dokku.apps["todo"]
    app.crt, app.key = PAIR["cert_content"] + "\n", "secretkey #two#\n"  # somebody else did
    assert run(dokku, **SET_UP, certificate=PAIR)["changed"] and "#one#" in app.key


def test_nginx_properties_rebuild_once_and_only_for_an_app_that_is_there(dokku):
    run(dokku, name="todo", nginx={"hsts": False})
    assert dokku.log[0].startswith("apps:create") and dokku.apps["todo"].nginx == {"hsts": "false"}
    run(dokku, **SET_UP)
    dokku.log.clear()
    run(dokku, name="todo", nginx={"hsts": True, "send_timeout": "30s"})
    assert [line.split()[0] for line in dokku.log] == ["config:import", "nginx:set", "nginx:set", "proxy:build-config", "config:unset"]
    dokku.log.clear()
    run(dokku, name="todo", nginx={"hsts": ""}, domains=["a.test"])
    assert "proxy:build-config todo" not in dokku.log


def test_docker_option_is_added_once(dokku):
    run(dokku, **SET_UP, docker_options={"deploy": ["--label x=y", "--label x=y"], "deploy.web": ["--init"]})
    app = dokku.apps["todo"]
    assert app.options["deploy"] == ["--label x=y"] and app.options["deploy.web"] == ["--init"]
    app.options["deploy"] = ["--link dokku.postgres.main:dokku-postgres-main", "--old", "--old", "--label x=y"]
    run(dokku, **SET_UP, docker_options={"deploy": ["--label x=y"]})
    assert app.options["deploy"] == ["--link dokku.postgres.main:dokku-postgres-main", "--label x=y"]


def test_limits_go_without_their_reservations(dokku):
    run(dokku, name="todo", resources={"default": {"limit": {"memory": "1g", "cpu": 1}, "reserve": {"memory": "100m"}}})
    run(dokku, name="todo", resources={"default": {"limit": {}}})
    assert dokku.apps["todo"].resources == {"_default_.reserve.memory": "100m"}
    assert not any("limit-clear" in line for line in dokku.log)


def test_failed_deploy_leaves_the_release_and_latest(dokku):
    run(dokku, **SET_UP)
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed) as failure:
        run(dokku, **{**SET_UP, "deploy": {"image": NEXT}})
    app = dokku.apps["todo"]
    assert "failed checks" in str(failure.value) and "last words of the app" in failure.value.tail
    assert (app.running, app.latest, app.metadata) == (IMAGE, IMAGE, IMAGE)
    run(dokku, name="todo", config={"A": "1"})
    assert app.running == IMAGE
    assert run(dokku, check=True, **{**SET_UP, "deploy": {"image": NEXT}})["restarted"]


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"A": "2"}},
        {"config": {"A": None}},
        {"storage": ["/new:/new"]},
        {"docker_options": {"deploy": ["--init"]}},
        {"resources": {"web": {"limit": {"memory": "1g"}}}},
        {"networks": {"attach_post_create": ["shared"]}},
        {"restart_policy": "always"},
        {"logs": {"max-size": "5m"}},
    ],
)
def test_change_that_went_with_a_failed_deploy_takes_effect_with_the_old_release(dokku, change):
    run(dokku, **SET_UP, config={"A": "1"})
    app = dokku.apps["todo"]
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed):
        run(dokku, **UPGRADE, **change)
    deploys = app.deploys
    healed = run(dokku, **SET_UP, **change)
    assert healed["restarted"] and healed["changes"] == ["deployed again, as a run before this one did not get to it"]
    assert app.deploys == deploys + 1 and (app.running, app.latest, app.metadata) == (IMAGE, IMAGE, IMAGE)
    assert app.env_running.get("A") == app.config.get("A") == change.get("config", {"A": "1"})["A"]
    assert PENDING_KEY not in app.config and run(dokku, **SET_UP, **change)["changed"] is False


def test_config_of_a_failed_deploy_is_put_back_with_its_release(dokku):
    def release(image):
        return {**SET_UP, "deploy": {"image": image, "config": {"PAAS_RELEASE": image}}}

    run(dokku, **release(IMAGE))
    app = dokku.apps["todo"]
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed):
        run(dokku, **release(NEXT))
    assert app.config["PAAS_RELEASE"] == NEXT
    assert "config: set PAAS_RELEASE" in run(dokku, **release(IMAGE))["changes"]
    assert app.config["PAAS_RELEASE"] == app.env_running["PAAS_RELEASE"] == app.running == IMAGE
    assert run(dokku, **release(IMAGE))["changed"] is False
    app.config["PAAS_RELEASE"] = "somebody's"
    assert run(dokku, **release(IMAGE))["restarted"] and app.env_running["PAAS_RELEASE"] == IMAGE


@pytest.mark.parametrize("deploy", [{"deploy": {"image": IMAGE}}, {}, {"deploy": {"image": NEXT, "replace": False}}])
def test_killed_before_a_deploy_and_then_the_old_release(deploy):
    def fresh():
        dokku = FakeDokku()
        run(dokku, **SET_UP, config={"A": "1"}, processes={"web": 1})
        dokku.writes = 0
        return dokku

    target = {"config": {"A": "2"}, "processes": {"web": 2}}
    whole = fresh()
    run(whole, **UPGRADE, **target)
    before_deploy = next(count for count, line in enumerate(whole.log[-whole.writes :]) if line.startswith("git:from-image"))
    for step in range(before_deploy + 1):
        dokku = fresh()
        dokku.die_at = step
        with pytest.raises(KeyboardInterrupt):
            run(dokku, **UPGRADE, **target)
        dokku.die_at = None
        run(dokku, name="todo", **deploy, **target)
        app = dokku.apps["todo"]
        assert (app.running, app.env_running["A"], app.scale, app.deploys) == (IMAGE, "2", {"web": 2}, 2), f"after a kill at step {step}"
        assert PENDING_KEY not in app.config and run(dokku, name="todo", **deploy, **target)["changed"] is False


@pytest.mark.parametrize("then", [SET_UP, {"name": "todo"}])
def test_killed_in_a_deploy_and_then_the_old_release(dokku, then):
    run(dokku, **SET_UP)
    dokku.dies_in_deploy = True
    with pytest.raises(KeyboardInterrupt):
        run(dokku, **UPGRADE, config={"A": "2"})
    dokku.dies_in_deploy = False
    app = dokku.apps["todo"]
    assert (app.latest, app.git_image) == (NEXT, NEXT)
    run(dokku, **then, config={"A": "2"})
    assert (app.running, app.latest, app.env_running["A"]) == (IMAGE, IMAGE, "2")


@pytest.mark.parametrize("then", [SET_UP, {"name": "todo"}])
def test_failed_image_is_not_rolled_out_where_latest_cannot_be_put_back(dokku, then):
    dokku.ssh = SshTarget("apps.test")
    run(dokku, **SET_UP)
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed):
        run(dokku, **UPGRADE, config={"A": "2"})
    app = dokku.apps["todo"]
    assert app.latest == NEXT
    assert run(dokku, **then, config={"A": "2"})["restarted"]
    assert (app.running, app.latest, app.env_running["A"]) == (IMAGE, IMAGE, "2")


def test_restart_that_was_owed_is_not_lost_in_a_failed_deploy(dokku):
    run(dokku, **SET_UP, config={"A": "1"})
    dokku.restart_fails = True
    with pytest.raises(DeployFailed):
        run(dokku, **SET_UP, config={"A": "2"})
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed):
        run(dokku, **UPGRADE, config={"A": "2"})
    run(dokku, **SET_UP, config={"A": "2"})
    assert dokku.apps["todo"].env_running["A"] == "2"


REMOTE = "https://git.example.test/todo.git"
FROM_GIT = [{"git": REMOTE, "version": digit * 40} for digit in "12"]
FROM_ARCHIVE = [{"archive": f"https://files.example.test/todo-{number}.tar.gz"} for number in "12"]


def origin(deploy):
    return f"{deploy['git']}#{deploy['version']}" if "git" in deploy else deploy["archive"]


@pytest.mark.parametrize("reached", ["as root", "over SSH"])
@pytest.mark.parametrize("releases", [FROM_GIT, FROM_ARCHIVE, [FROM_ARCHIVE[0], FROM_GIT[1]], [FROM_GIT[0], FROM_ARCHIVE[1]]])
def test_source_whose_deploy_failed_is_not_rolled_out_later(dokku, releases, reached):
    dokku.ssh = SshTarget("apps.test") if reached == "over SSH" else None
    assert run(dokku, name="todo", config={"A": "1"}, deploy=releases[0])["release"]["source"] == origin(releases[0])
    assert run(dokku, name="todo", config={"A": "1"}, deploy=releases[0])["changed"] is False
    dokku.broken.add(origin(releases[1]))
    with pytest.raises(DeployFailed):
        run(dokku, name="todo", config={"A": "2"}, deploy=releases[1])
    app = dokku.apps["todo"]
    assert (app.running, app.env_running["A"]) == (origin(releases[0]), "1")
    assert run(dokku, name="todo", config={"A": "2"})["restarted"]
    assert (app.running, app.metadata, app.env_running["A"]) == (origin(releases[0]), origin(releases[0]), "2")


def test_branch_of_a_failed_deploy_names_the_commit_from_before(dokku):
    run(dokku, name="todo", deploy=FROM_GIT[0])
    dokku.broken.add(origin(FROM_GIT[1]))
    with pytest.raises(DeployFailed, match="the branch is at the commit from before again"):
        run(dokku, name="todo", deploy=FROM_GIT[1])
    assert dokku.apps["todo"].git_image == origin(FROM_GIT[0])


def test_never_owes_nothing_after_a_failed_deploy(dokku):
    run(dokku, **SET_UP)
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed):
        run(dokku, **UPGRADE, config={"A": "2"}, restart="never")
    assert PENDING_KEY not in dokku.apps["todo"].config
    assert run(dokku, **SET_UP, config={"A": "2"}, restart="never")["changed"] is False


def test_scale_of_a_killed_deploy_is_not_forgotten(dokku):
    run(dokku, **SET_UP)
    dokku.dies_in_deploy = True
    with pytest.raises(KeyboardInterrupt):
        run(dokku, **UPGRADE, processes={"web": 2})
    dokku.dies_in_deploy = False
    app = dokku.apps["todo"]
    deploys = app.deploys
    assert run(dokku, **SET_UP, processes={"web": 2})["restarted"]
    assert (app.running, app.scale, app.deploys) == (IMAGE, {"web": 2}, deploys + 1)


STOP_FIRST = {"strategy": "stop_first"}


@pytest.mark.parametrize("checks", [{"deploy": {"image": NEXT, **STOP_FIRST}}, {"checks": {"disabled": ["web"]}}, {}])
def test_what_was_stopped_first_is_started_again(dokku, checks):
    run(dokku, **{**SET_UP, "deploy": {"image": IMAGE, **STOP_FIRST}})
    app = dokku.apps["todo"]
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed, match="`dokku ps:restart todo` has started the release from before") as failure:
        run(dokku, **{**UPGRADE, "config": {"A": "2"}, **checks})
    assert "runs what it ran" not in str(failure.value) and failure.value.rc == 1
    assert app.up and (app.running, app.latest, app.env_running["A"]) == (IMAGE, IMAGE, "2")
    tagged, restarted = (dokku.log.index(line) for line in (f"docker image tag {IMAGE} dokku/todo:latest", "ps:restart todo"))
    assert tagged < restarted and PENDING_KEY not in app.config
    assert run(dokku, **{**SET_UP, "config": {"A": "2"}})["changed"] is False


def test_what_was_stopped_first_and_does_not_start_again_is_told(dokku):
    run(dokku, **{**SET_UP, "deploy": {"image": IMAGE, **STOP_FIRST}})
    dokku.broken |= {IMAGE, NEXT}
    with pytest.raises(DeployFailed, match="failed with exit status 1, so the app may be down: Could not start due to 1 failed checks") as failure:
        run(dokku, **UPGRADE, config={"A": "2"})
    assert "runs what it ran" not in str(failure.value) and PENDING_KEY in dokku.apps["todo"].config
    dokku.broken.clear()
    run(dokku, **SET_UP, config={"A": "2"})
    assert dokku.apps["todo"].up and dokku.apps["todo"].env_running["A"] == "2"


def test_start_again_that_does_not_end_is_told(dokku):
    run(dokku, **{**SET_UP, "deploy": {"image": IMAGE, **STOP_FIRST}})
    dokku.broken.add(NEXT)

    def never_ends(words, stdin):
        raise CommandFailed("`dokku ps:restart todo` did not end within 900 s.", rc=124)

    dokku.ps_restart = never_ends
    with pytest.raises(DeployFailed, match="the release from before, did not end within 900 s") as failure:
        run(dokku, **UPGRADE)
    assert failure.value.rc == 1 and "has started" not in str(failure.value)


def test_what_was_stopped_first_is_deployed_again_where_latest_cannot_be_put_back(dokku):
    dokku.ssh = SshTarget("apps.test")
    run(dokku, **{**SET_UP, "deploy": {"image": IMAGE, **STOP_FIRST}})
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed, match=f"`dokku git:from-image todo {IMAGE}` has started"):
        run(dokku, **UPGRADE)
    app = dokku.apps["todo"]
    assert app.up and (app.running, app.latest) == (IMAGE, IMAGE)


def test_nothing_is_started_that_runs_or_did_not_run_before(dokku):
    run(dokku, **{**SET_UP, "deploy": {"image": IMAGE, **STOP_FIRST}})
    app = dokku.apps["todo"]
    dokku.broken.add(NEXT)
    dokku.fails_early = True
    with pytest.raises(DeployFailed, match="The app runs what it ran before"):
        run(dokku, **UPGRADE)
    app.up = False
    with pytest.raises(DeployFailed, match="did not run before either"):
        run(dokku, **UPGRADE)
    assert "ps:restart todo" not in dokku.log


def test_first_deploy_that_fails_promises_nothing(dokku):
    dokku.broken.add(IMAGE)
    with pytest.raises(DeployFailed, match="has no release yet"):
        run(dokku, **SET_UP)


def test_deploy_that_does_not_end_in_time_is_left_alone(dokku, monkeypatch):
    monkeypatch.setattr(apply, "LOCK_PAUSE", 0)
    run(dokku, **{**SET_UP, "deploy": {"image": IMAGE, **STOP_FIRST}}, config={"A": "1"})
    app = dokku.apps["todo"]
    dokku.hangs = True
    with pytest.raises(DeployFailed, match="did not end within 900 s. It may still be running, so nothing was put back") as failure:
        run(dokku, **UPGRADE, config={"A": "2"}, processes={"web": 2})
    assert failure.value.rc == 124 and "before" not in str(failure.value)
    assert dokku.log[-1].startswith("git:from-image") and (app.latest, app.scale) == (NEXT, {"web": 2})
    # The old release once more, while that deploy still runs: its origin is no proof that it was deployed.
    dokku.hangs, dokku.locked = False, [IMAGE]
    app.git_image = IMAGE
    assert run(dokku, **SET_UP, config={"A": "2"})["restarted"]
    assert (app.running, app.env_running["A"]) == (IMAGE, "2") and PENDING_KEY not in app.config


def test_deploy_of_somebody_else_is_waited_for(dokku, monkeypatch):
    monkeypatch.setattr(apply, "LOCK_PAUSE", 0)
    run(dokku, **SET_UP)
    app = dokku.apps["todo"]
    dokku.locked, deploys = [NEXT], app.deploys
    assert run(dokku, **{**SET_UP, "deploy": {"image": NEXT}})["changed"]
    assert app.deploys == deploys and (app.running, app.latest) == (NEXT, NEXT)  # the other has brought it
    dokku.locked = [IMAGE, IMAGE]
    run(dokku, **{**SET_UP, "deploy": {"image": "registry.test:5000/todo:3"}})
    assert app.running == "registry.test:5000/todo:3"
    dokku.locked = [IMAGE]
    with pytest.raises(DeployFailed, match="deploy lock.*this one did not begin"):
        run(dokku, **{**SET_UP, "deploy": {"image": NEXT}}, timeout=-1)
    assert not any(line.startswith("docker image tag") for line in dokku.log)


def test_failed_scale_is_put_back(dokku):
    run(dokku, **SET_UP)
    app = dokku.apps["todo"]
    dokku.broken.add(IMAGE)
    with pytest.raises(DeployFailed, match="the scale is web=1 again"):
        run(dokku, name="todo", processes={"web": 2})
    assert app.scale == {"web": 1}
    dokku.broken.clear()
    assert run(dokku, name="todo", processes={"web": 2})["restarted"] and app.scale == {"web": 2}
    assert run(dokku, name="todo", processes={"web": 2})["changed"] is False


def test_an_apps_last_words_do_not_tell_its_secrets(dokku):
    run(dokku, **SET_UP, config={"SECRET": "last words of the app"})
    dokku.broken.add(NEXT)
    with pytest.raises(DeployFailed) as failure:
        run(dokku, **{**SET_UP, "deploy": {"image": NEXT}})
    assert "last words" not in failure.value.tail and "********" in failure.value.tail


# More than the quirks.


def test_release_that_runs_is_kept_with_its_config(dokku):
    first = {"name": "todo", "deploy": {"image": IMAGE, "replace": False, "config": {"PAAS_RELEASE": "a"}}, "config": {}, "config_exact": True}
    assert run(dokku, **first)["changed"]
    result = run(dokku, **{**first, "deploy": {"image": NEXT, "replace": False, "config": {"PAAS_RELEASE": "b"}}})
    app = dokku.apps["todo"]
    assert result["changed"] is False and app.running == IMAGE and app.config["PAAS_RELEASE"] == "a"
    assert result["release"]["source"] == IMAGE
    run(dokku, **{**first, "deploy": {"image": NEXT, "config": {"PAAS_RELEASE": "b"}}})
    assert app.running == NEXT and app.config["PAAS_RELEASE"] == "b"


def test_strategy_stop_first_and_back(dokku):
    run(dokku, **{**SET_UP, "deploy": {"image": IMAGE, "strategy": "stop_first"}})
    app = dokku.apps["todo"]
    assert app.disabled == ["_all_"]
    run(dokku, **{**SET_UP, "deploy": {"image": IMAGE, "strategy": "zero_downtime"}})
    assert app.disabled == []


def test_enabling_checks_of_a_type_clears_all(dokku):
    run(dokku, name="todo", checks={"disabled": ["all"]})
    run(dokku, name="todo", checks={"disabled": ["worker"], "skipped": ["web"]})
    app = dokku.apps["todo"]
    assert (app.disabled, app.skipped) == (["worker"], ["web"])


def test_network_moves_from_one_place_to_the_other(dokku):
    run(dokku, name="todo", networks={"attach_post_deploy": ["shared"]})
    run(dokku, name="todo", networks={"attach_post_create": ["shared"], "attach_post_deploy": []})
    assert dokku.apps["todo"].network == {"attach-post-deploy": "", "attach-post-create": "shared"}
    assert dokku.known.count("shared") == 1


def test_absent_wants_the_name_once_more(dokku):
    run(dokku, **SET_UP)
    with pytest.raises(BadDeclaration, match="confirm: todo"):
        run(dokku, name="todo", state="absent")
    assert run(dokku, check=True, name="todo", state="absent", confirm="todo")["changed"] and "todo" in dokku.apps
    assert run(dokku, name="todo", state="absent", confirm="todo")["changed"] and not dokku.apps


@pytest.mark.parametrize("version", ["0.37.9", "0.38.0", "0.38.21"])
def test_old_dokku_is_named(version):
    with pytest.raises(DokkuUnavailable, match=rf"has Dokku {version}, .* to 0\.38\.22 or later"):
        run(FakeDokku(version), name="todo")


@pytest.mark.parametrize("version", ["0.38.22", "0.38.27", "0.39.0", "1.0.0"])
def test_dokku_that_is_new_enough(version):
    assert run(FakeDokku(version), name="todo")["changed"]


@pytest.mark.parametrize(
    "params, words",
    [
        ({"name": "Bad_Name"}, "no app name"),
        ({"name": "todo", "ports": ["http:80"]}, "no port map"),
        ({"name": "todo", "ports": ["http:99999:1"]}, "no port map"),
        ({"name": "todo", "ports": ["http:80:1", "http:80:2"]}, "share http:80"),
        ({"name": "todo", "config": {"1BAD": "x"}}, "Config keys"),
        ({"name": "todo", "config": {PENDING_KEY: "x"}}, "module's own"),
        ({"name": "todo", "storage": ["/only"]}, "no mount"),
        ({"name": "todo", "domains": ["under_score.test"]}, "no domain"),
        ({"name": "todo", "restart_policy": "sometimes"}, "no restart policy"),
        ({"name": "todo", "docker_options": {"start": ["--init"]}}, "build, deploy and run"),
        ({"name": "todo", "certificate": {"cert_content": "x"}}, "needs both"),
        ({"name": "todo", "deploy": {"git": "https://git.test/x.git", "version": "main"}}, "full commit id"),
        ({"name": "todo", "deploy": {"image": "a", "archive": "b"}}, "exactly one"),
        ({"name": "todo", "deploy": {"git": "https://me:secret@git.example.test/todo.git", "version": "1" * 40}}, "dokku git:auth"),
        ({"name": "todo", "processes": {"web": "many"}}, "a number"),
        ({"name": "todo", "processes": {"web": -1}}, "from 0 up"),
        ({"name": "todo", "resources": {"web": {"most": {}}}}, "limit and reserve"),
        ({"name": "todo", "certificate": {"cert": "/nowhere/c", "key": "/nowhere/k"}}, "cannot be read"),
    ],
)
def test_declarations_that_cannot_be(dokku, params, words):
    with pytest.raises(BadDeclaration, match=words):
        run(dokku, **params)
    assert dokku.log == []


def test_report_that_fails_is_named(dokku):
    run(dokku, name="todo")
    dokku.ports_report = lambda words, stdin: FakeDokku.apps_create(dokku, ["todo"], None)
    with pytest.raises(CommandFailed, match="ports:report todo.*Name is already taken"):
        run(dokku, name="todo", ports=[])


def _upgrade():
    changed = {**WHOLE, "config": {"SECRET": "new-sesame", "NEW": "1"}, "domains": ["new.test"], "processes": {"web": 3}, "nginx": {"hsts": False}}
    return {**changed, "docker_options": {"deploy": ["--init"]}, "storage": ["/new:/new"], "checks": {"skipped": ["worker"]}}


@pytest.mark.parametrize(
    "target",
    [
        WHOLE,
        _upgrade(),
        {**_upgrade(), "deploy": {"image": NEXT}},
        {"name": "todo", "processes": {"web": 4}},
        {"name": "todo", "nginx": {"hsts": False}},
    ],
)
def test_killed_at_any_command_and_run_again(target):
    def fresh():
        dokku = FakeDokku()
        if target is not WHOLE:
            run(dokku, **WHOLE)
        dokku.writes = 0
        return dokku

    whole = fresh()
    run(whole, **target)
    for step in range(whole.writes):
        dokku = fresh()
        dokku.die_at = step
        with pytest.raises(KeyboardInterrupt):
            run(dokku, **target)
        dokku.die_at = None
        run(dokku, **target)
        mine, its = state(dokku), state(whole)
        for side in (mine, its):  # what the containers were started with may tell that a restart was owed
            side["todo"]["env_running"].pop(PENDING_KEY, None)
        assert mine == its, f"after a kill at step {step}"
        assert run(dokku, **target)["changed"] is False


def test_what_apps_are_without_their_secrets(dokku):
    run(dokku, **WHOLE)
    run(dokku, name="empty")
    found = {app["name"]: app for app in reports(dokku, ["todo", "empty", "nope"], "salt")}
    assert found["nope"] == {"name": "nope", "exists": False}
    assert (found["empty"]["running"], found["empty"]["release"]["source"], found["empty"]["certificate"]) == ("false", "", None)
    todo = found["todo"]
    assert (todo["running"], todo["release"]["digest"], todo["processes"]) == ("true", "sha256:" + "a" * 64, {"web": 2})
    assert todo["domains"] == WHOLE["domains"] and todo["certificate"] == {"serial": "0a1b", "expires": "2026-12-21T02:58:30Z"}
    assert set(todo["config"]) == {"SECRET", "WORKERS", "DEBUG", "GIT_REV"} and "sesame-open" not in json.dumps(todo)
    assert reports(dokku, ["todo"], "salt")[0] == todo
    assert reports(dokku, ["todo"], "pepper")[0]["config"]["SECRET"] != todo["config"]["SECRET"]
