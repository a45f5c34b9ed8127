"""docker-compose.yml keeps to the specification, to the contract and to our own settings."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from jsonschema.validators import validator_for
from pydantic import SecretStr

from infra.settings import Settings
from tests.compose.stack_file import OURS, defaults, load, services

# The compose specification's own schema (compose-spec/compose-spec, Apache-2.0), as the
# check-jsonschema package ships it with its licence; the lock file pins which.
SCHEMA = resources.files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json"
PUBLISHED = {
    "postgres": 5433,
    "redis": 6379,
    "temporal": 7233,
    "temporal-ui": 8233,
    "api": 8081,
    "sandbox": 8090,
    "mail": 8025,
    "codec": 8088,
}
ONCE = ("temporal-schema", "temporal-namespace", "migrate", "seed")


def mistakes(document: dict[str, Any]) -> list[str]:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = validator_for(schema)(schema)
    return [error.json_path for error in validator.iter_errors(document)]


class TestSpecification:
    def test_the_file_is_valid(self) -> None:
        assert mistakes(load()) == []

    def test_the_schema_finds_a_misspelt_key(self) -> None:
        broken = load()
        broken["services"]["api"]["depend_on"] = ["postgres"]
        assert mistakes(broken) == ["$.services.api"]


class TestContract:
    def test_the_images_are_the_promised_ones(self) -> None:
        found = services()
        assert found["postgres"]["image"] == "postgres:15"
        assert found["redis"]["image"] == "redis:7-alpine"
        assert found["temporal"]["image"].startswith("temporalio/server:")
        assert found["temporal"]["environment"]["DB"] == "postgres12"
        assert found["temporal-ui"]["image"].startswith("temporalio/ui:")

    def test_ports_are_the_promised_ones_and_open_on_this_machine_only(self) -> None:
        published = {}
        for name, service in services().items():
            for port in service.get("ports", []):
                host, outside, _ = port.split(":")
                assert host == "127.0.0.1", f"{name} has development passwords"
                published[name] = int(outside)
        assert published == PUBLISHED

    def test_postgresql_is_5432_inside_and_5433_outside(self) -> None:
        assert services()["postgres"]["ports"] == ["127.0.0.1:5433:5432"]
        url = services()["api"]["environment"]["SEATHOLD_DATABASE_URL"]
        assert "@postgres:5432/" in url


class TestStartOrder:
    def test_a_service_waited_for_can_become_what_is_waited_for(self) -> None:
        found = services()
        for name, service in found.items():
            for needed, how in service.get("depends_on", {}).items():
                if how["condition"] == "service_completed_successfully":
                    assert needed in ONCE, f"{name} waits for the end of {needed}"
                else:
                    assert how["condition"] == "service_healthy"
                    assert "test" in found[needed]["healthcheck"], f"{needed} has no health check"

    def test_whatever_stays_up_says_whether_it_is_well(self) -> None:
        mute = {name for name, one in services().items() if "test" not in one["healthcheck"]}
        assert mute == set(ONCE)

    def test_one_shot_services_end(self) -> None:
        for name in ONCE:
            service = services()[name]
            assert service["restart"] == "on-failure"
            assert service["healthcheck"] == {"disable": True}

    def test_api_and_worker_start_on_a_migrated_database_and_a_namespace(self) -> None:
        for name in ("api", "worker"):
            assert {"migrate", "redis", "temporal-namespace"} <= set(services()[name]["depends_on"])

    def test_nothing_waits_for_itself(self) -> None:
        needs = {name: set(s.get("depends_on", {})) for name, s in services().items()}
        started: set[str] = set()
        while ready := {name for name in needs if needs[name] <= started} - started:
            started |= ready
        assert started == set(needs)


class TestSettings:
    @pytest.mark.parametrize("name", OURS)
    def test_every_variable_of_ours_is_a_setting(self, name: str) -> None:
        given = set(services()[name]["environment"])
        known = {f"SEATHOLD_{field.upper()}" for field in Settings.model_fields}
        ours = {variable for variable in given if variable.startswith("SEATHOLD_")}
        assert ours <= known
        assert given - ours == {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}

    def test_defaults_are_those_of_the_settings(self) -> None:
        for variable, default in defaults().items():
            field = variable.removeprefix("SEATHOLD_").lower()
            if not variable.startswith("SEATHOLD_") or variable == "SEATHOLD_VERSION":
                continue
            value = Settings.model_fields[field].default
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            assert default == ("" if plain is None else str(plain)), variable

    def test_production_refuses_the_development_secrets(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable, value in services({"SEATHOLD_ENV": "production"})["api"][
            "environment"
        ].items():
            monkeypatch.setenv(variable, str(value))
        with pytest.raises(ValueError, match="development"):
            Settings()

    def test_a_password_reaches_everyone_who_needs_it(self) -> None:
        given = {
            "POSTGRES_PASSWORD": "s3cret",
            "POSTGRES_APP_PASSWORD": "4pp",
            "POSTGRES_OWNER_PASSWORD": "0wner",
            "TEMPORAL_DB_PASSWORD": "0ther",
        }
        found = services(given)
        assert given.items() <= found["postgres"]["environment"].items()
        for name in OURS:
            assert ":4pp@" in found[name]["environment"]["SEATHOLD_DATABASE_URL"]
        assert found["temporal"]["environment"]["POSTGRES_PWD"] == "0ther"
        assert found["temporal-schema"]["environment"]["SQL_PASSWORD"] == "0ther"
        assert found["postgres"]["environment"]["TEMPORAL_DB_PASSWORD"] == "0ther"


def test_only_the_migration_is_told_who_owns_the_tables() -> None:
    for name, service in services().items():
        told = [value for value in service.get("environment", {}).values() if "owner" in str(value)]
        assert len(told) == (name in ("migrate", "postgres")), name
    found = services()["postgres"]["volumes"]
    assert "./docker/postgres/seathold-roles.sh" in {volume.partition(":")[0] for volume in found}


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_little(name: str) -> None:
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert "user" not in service, "the image's own user is the unprivileged one"
