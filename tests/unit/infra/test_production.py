"""ENV=production starts with a whole configuration, and with none that has one thing wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from typer.core import TyperGroup as Group
from typer.main import get_command
from typer.testing import CliRunner, Result

from infra import production
from infra.settings import Settings
from seathold import cli
from tests.helpers.production import GOOD, TEMPORAL, environment, secret

JWT, WEBHOOKS = secret("jwt"), f"whsec_{secret('webhooks')}"


@pytest.fixture(autouse=True)
def _temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    for name, value in TEMPORAL.items():
        monkeypatch.setenv(name, value)


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, **{**GOOD, **changes})  # type: ignore[arg-type]


def command_with(monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, Any]) -> Result:
    """What a command says that needs nothing but its configuration."""
    told = {name: None if value is None else str(value) for name, value in changes.items()}
    for name, value in environment(**told).items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(cli.app, ["policy"])


def test_the_whole_configuration_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of every refusal below."""
    assert command_with(monkeypatch, {}).exit_code == 0
    assert settings().env == "production"
    assert settings().staff_needs_second_factor


def test_nobody_guesses_where_the_pages_of_mailed_links_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not below the public address, where development looks for them."""
    monkeypatch.delenv("SEATHOLD_ACCOUNT_URL", raising=False)
    untold = {name: value for name, value in GOOD.items() if name != "account_url"}
    with pytest.raises(ValueError, match="ACCOUNT_URL is not the https"):
        Settings(_env_file=None, **untold)  # type: ignore[arg-type]
    assert command_with(monkeypatch, {"account_url": None}).exit_code == 2
    assert settings().account_pages == GOOD["account_url"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"jwt_seed": production.DEV_JWT_SEED}, "JWT_SEED is the development secret"),
        ({"jwt_seed": "short but one's own"}, "JWT_SEED is shorter than 32 bytes"),
        ({"jwt_seed": "ab" * 32}, "JWT_SEED repeats a few characters"),
        ({"jwt_verify_seeds": production.DEV_JWT_SEED}, "JWT_VERIFY_SEEDS is the development"),
        ({"jwt_verify_seeds": "short"}, "JWT_VERIFY_SEEDS is shorter"),
        ({"webhook_secret": production.DEV_WEBHOOK_SECRET}, "WEBHOOK_SECRET is the development"),
        ({"webhook_secret": "whsec_c2hvcnQgc2VjcmV0IG9mIG1pbmU="}, "WEBHOOK_SECRET is shorter"),
        ({"webhook_secret_previous": WEBHOOKS}, "WEBHOOK_SECRET_PREVIOUS are the same secret"),
        ({"payload_keys": production.DEV_PAYLOAD_KEYS}, "PAYLOAD_KEYS is the development"),
        (
            {"payload_keys": f"new:{secret('new')},{production.DEV_PAYLOAD_KEYS}"},
            "PAYLOAD_KEYS is the development",
        ),
        ({"partner_secret_keys": production.DEV_PARTNER_KEYS}, "PARTNER_SECRET_KEYS is the devel"),
        ({"partner_secret_keys": f"own:{secret('payloads')}"}, "are the same secret"),
        ({"stripe_webhook_secret": "whsec_short"}, "STRIPE_WEBHOOK_SECRET is shorter"),
        ({"database_url": "postgresql://[db/seathold"}, "DATABASE_URL is not postgresql://"),
        ({"database_url": "postgresql://a:seathold@127.0.0.1/s"}, "DATABASE_URL has no password"),
        ({"database_url": "postgresql://a@127.0.0.1/s"}, "DATABASE_URL has no password"),
        (
            {"migrate_database_url": "postgresql://a:seathold-owner@127.0.0.1/s"},
            "MIGRATE_DATABASE_URL has no password",
        ),
        (
            {"database_url": "postgresql://a:one-of-our-own-making@db.internal/s"},
            "DATABASE_URL goes over the netw",
        ),
        (
            {
                "database_url": "postgresql://a:one-of-our-own-making@127.0.0.1,db.internal/s?sslmode=prefer"
            },
            "DATABASE_URL goes over the network in plain text",
        ),
        (
            {"database_url": "postgresql://a:one-of-our-own-making@db.internal/s?sslmode=require"},
            "DATABASE_URL goes over the network",
        ),
        ({"database_url": "postgresql://a:one-of-our-own-making@127.0.0.1/s"}, None),
        (
            {"database_url": "postgresql://a:one-of-our-own-making@localhost/s?hostaddr=10.0.0.5"},
            "DATABASE_URL goes over the network",
        ),
        (
            {"database_url": "postgresql://a:one-of-our-own-making@localhost/s?hostaddr=::1"},
            None,
        ),
        (
            {"database_url": "postgresql://a:one-of-our-own-making@localhost/s?service=far"},
            "DATABASE_URL names a service",
        ),
        ({"database_url": "postgresql://a:short@127.0.0.1/s"}, "DATABASE_URL has a password of"),
        (
            {"migrate_database_url": "postgresql://o:short@127.0.0.1/s"},
            "MIGRATE_DATABASE_URL has a password of",
        ),
        (
            {"migrate_database_url": "postgresql://o:correct-horse-battery@127.0.0.1/s"},
            "DATABASE_URL and SEATHOLD_MIGRATE_DATABASE_URL are the same secret",
        ),
        ({"redis_url": "rediss://:short@redis.internal/0"}, "REDIS_URL has a password of less"),
        (
            {"redis_url": "rediss://:correct%2Dhorse-battery@redis.internal/0"},
            "DATABASE_URL and SEATHOLD_REDIS_URL are the same secret",
        ),
        (
            {"redis_url": f"rediss://:{quote(secret('jwt'), safe='')}@redis.internal/0"},
            "JWT_SEED and SEATHOLD_REDIS_URL are the same secret",
        ),
        (
            {"redis_url": f"rediss://:{quote(secret('payloads'), safe='')}@redis.internal/0"},
            "PAYLOAD_KEYS and SEATHOLD_REDIS_URL are the same secret",
        ),
        ({"smtp_password": "as the provider"}, None),
        (
            {"smtp_password": "another-horse-battery"},
            "REDIS_URL and SEATHOLD_SMTP_PASSWORD are the same secret",
        ),
        ({"database_url": "postgresql://a@/s?host=/run/postgresql"}, None),
        ({"redis_url": "redis://redis.internal:6379/0"}, "REDIS_URL goes over the network"),
        ({"redis_url": "rediss://redis.internal:6380/0"}, "REDIS_URL has no password"),
        ({"redis_url": "rediss://redis.internal:6380/0?ssl_certfile=us.pem"}, None),
        (
            {
                "redis_url": "rediss://:one-of-our-own-making@redis.internal:6380/0?ssl_cert_reqs=none"
            },
            "REDIS_URL takes anybody's certificate",
        ),
        (
            {"redis_url": "rediss://:one-of-our-own-making@redis.internal/?ssl_check_hostname=no"},
            "REDIS_URL takes anybody's certificate",
        ),
        # The client takes the host from there, where none stands before it.
        (
            {"redis_url": "redis:///0?host=redis.internal"},
            "REDIS_URL goes over the network in plain text",
        ),
        ({"redis_url": "rediss://redis.internal:port"}, "REDIS_URL cannot be read"),
        ({"smtp_host": "mail.internal"}, None),
        ({"smtp_host": "mail.internal", "smtp_tls": "offered"}, "SMTP_TLS=offered"),
        ({"smtp_tls": "offered"}, None),
        ({"redis_url": "redis://127.0.0.1:6379/0"}, None),
        ({"redis_url": "redis://[::1]:6379/0"}, None),
        ({"cors_origins": "*"}, r"CORS_ORIGINS is \*"),
        ({"cors_origins": "null"}, "CORS_ORIGINS has null"),
        ({"cors_origins": "http://shop.cinema.org"}, "CORS_ORIGINS has http://shop"),
        ({"cors_origins": "https://shop.cinema.org/"}, "CORS_ORIGINS has https://shop"),
        ({"trusted_proxies": "0.0.0.0/0"}, "TRUSTED_PROXIES trusts strangers"),
        ({"trusted_proxies": "::/0"}, "TRUSTED_PROXIES trusts strangers"),
        ({"trusted_proxies": "*"}, "trusted_proxies"),
        ({"metrics_networks": "0.0.0.0/0"}, "METRICS_NETWORKS lets strangers"),
        ({"allowed_hosts": "*"}, r"ALLOWED_HOSTS has \*"),
        ({"public_url": "http://tickets.cinema.org"}, "PUBLIC_URL is not the https"),
        ({"public_url": "https://127.0.0.1"}, "PUBLIC_URL is not the https"),
        ({"account_url": "http://tickets.cinema.org/account"}, "ACCOUNT_URL is not the https"),
        ({"account_url": ""}, "ACCOUNT_URL is not the https"),
        ({"return_url": "http://tickets.cinema.org/back"}, "RETURN_URL is not the https"),
        ({"return_url": "https://tickets.cinema.org/bookings/{booking_id}"}, None),
        ({"codec_origin": "http://codec.cinema.org"}, "CODEC_ORIGIN is not https"),
        ({"codec_origin": "https://codec.cinema.org/"}, "CODEC_ORIGIN is not https"),
        ({"codec_origin": "https://Codec.cinema.org:443"}, "CODEC_ORIGIN is not https"),
        ({"codec_origin": "https://codec.cinema.org:8443"}, None),
        ({"staff_totp": "off"}, "STAFF_TOTP=off"),
        ({"staff_totp": "required"}, None),
        ({"rate_limit_per_minute": 0}, "RATE_LIMIT_PER_MINUTE=0"),
        ({"partner_private_networks": "10.0.0.0/8"}, "PARTNER_PRIVATE_NETWORKS"),
        ({"stripe_api_key": None, "stripe_webhook_secret": None}, "STRIPE_API_KEY is no live key"),
        ({"stripe_api_key": "sk_test_0123456789abcdef"}, "STRIPE_API_KEY is no live key"),
        ({"mail_from": "Seathold <tickets@seathold.test>"}, "MAIL_FROM is an address that nobody"),
        ({"smtp_port": 8026}, "SMTP_PORT is that of the mail sink"),
        ({"sms_url": "http://127.0.0.1:8025/api/sms"}, "SMS_URL is that of the SMS sink"),
        ({"sms_url": "http://sms.provider.org/send"}, "SMS_URL goes over the network"),
        ({"log_level": "DEBUG"}, "LOG_LEVEL=DEBUG"),
        ({"log_json": False}, "LOG_JSON=false"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value)[:24],
)
def test_each_thing_alone_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, wrong: Mapping[str, Any], named: str | None
) -> None:
    """``None``: looks wrong and is not."""
    if named is None:
        settings(**wrong)
        return
    with pytest.raises(ValueError, match=named) as refused:
        settings(**wrong)
    assert command_with(monkeypatch, wrong).exit_code == 2
    reasons = str(refused.value).count("SEATHOLD_")
    assert reasons <= 2, "only what is wrong, and the other of two that are the same"
    for value in (JWT, secret("payloads"), "correct-horse", "another-horse"):
        assert value not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"TEMPORAL_ADDRESS": None}, "TEMPORAL_ADDRESS is not set"),
        ({"TEMPORAL_API_KEY": None}, "TEMPORAL_ADDRESS goes over the network in plain text"),
        # The key would be told to everybody on the way.
        ({"TEMPORAL_TLS": "false"}, "TEMPORAL_ADDRESS goes over the network in plain text"),
        ({"TEMPORAL_API_KEY": None, "TEMPORAL_TLS": "true"}, None),
        ({"TEMPORAL_API_KEY": None, "TEMPORAL_ADDRESS": "127.0.0.1:7233"}, None),
        ({"FORWARDED_ALLOW_IPS": "*"}, "FORWARDED_ALLOW_IPS"),
        ({"FORWARDED_ALLOW_IPS": "10.0.0.1"}, None),
    ],
)
def test_others_variables_are_looked_at_too(
    monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, str | None], named: str | None
) -> None:
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    if named is None:
        settings()
        return
    with pytest.raises(ValueError, match=named):
        settings()


OPEN_URL = "postgresql://a:one-of-our-own-making@/s"


@pytest.mark.parametrize(
    ("changes", "url", "named"),
    [
        ({}, OPEN_URL, None),
        ({"PGHOST": "db.internal"}, OPEN_URL, "DATABASE_URL goes over the network"),
        ({"PGHOST": "db.internal", "PGSSLMODE": "verify-full"}, OPEN_URL, None),
        ({"PGHOST": "/run/postgresql"}, OPEN_URL, None),
        ({"PGHOSTADDR": "10.0.0.5"}, OPEN_URL, "DATABASE_URL goes over the network"),
        (
            {"PGHOSTADDR": "10.0.0.5"},
            "postgresql://a:one-of-our-own-making@localhost/s",
            "DATABASE_URL goes over the network",
        ),
        ({"PGPASSWORD": "seathold"}, "postgresql://a@127.0.0.1/s", "DATABASE_URL has no password"),
    ],
)
def test_what_the_url_leaves_open_is_read_where_libpq_reads_it(
    monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, str], url: str, named: str | None
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    if named is None:
        settings(database_url=url)
        return
    with pytest.raises(ValueError, match=named):
        settings(database_url=url)


def test_development_refuses_none_of_it() -> None:
    assert Settings(_env_file=None).env == "dev"


# What a command cannot do without.
ARGUMENTS = {
    "admin create": ["--email", "a@cinema.org"],
    "admin reset-second-factor": ["--email", "a@cinema.org", "--reason", "x", "--yes"],
    "events show": ["0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11"],
    "events verify": ["--all"],
    "import": ["films.json"],
    "reconcile": ["--since", "2026-11-24T00:00:00Z"],
    "show cancel": ["0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11", "--reason", "x"],
    "show cancellation": ["0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11"],
    "statement": ["--date", "2026-11-24"],
}


def commands() -> Iterator[str]:
    """Every one there is, also those that stand in a group, as one writes it."""

    def within(group: Group, before: str) -> Iterator[str]:
        for name, command in group.commands.items():
            if not isinstance(command, Group) or command.invoke_without_command:
                yield f"{before}{name}"
            if isinstance(command, Group):
                yield from within(command, f"{before}{name} ")

    whole = get_command(cli.app)
    assert isinstance(whole, Group)
    return within(whole, "")


def test_the_commands_are_all_there() -> None:
    """The control of what is asked of each of them."""
    known = {"api", "worker", "codec", "audit", "policy", "projections", "projections rebuild"}
    assert known | {*ARGUMENTS, *cli.STAND_INS} <= set(commands())


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_refuses(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for name, value in environment(jwt_seed=production.DEV_JWT_SEED).items():
        monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(cli.app, [*command.split(), *ARGUMENTS.get(command, [])])
    assert answer.exit_code == 2
    assert "SEATHOLD_JWT_SEED is the development secret" in answer.output
    assert "Traceback" not in answer.output


@pytest.mark.parametrize("command", sorted(cli.STAND_INS))
def test_stand_ins_have_no_place_in_production(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(cli.app, [command])
    assert answer.exit_code == 2
    assert f"`seathold {command}` is for development" in answer.output


def test_stand_ins_have_no_place_where_only_dotenv_says_production(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = "".join(f"{name}={value!r}\n" for name, value in environment().items())
    (tmp_path / ".env").write_text(told)
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(cli.app, ["mail", "--port=x"])
    assert answer.exit_code == 2
    assert "`seathold mail` is for development" in answer.output


@pytest.mark.parametrize(("seed", "code"), [(JWT, 0), ("short", 2)], ids=["good", "short"])
def test_as_a_process_it_is_the_same(seed: str, code: int) -> None:
    """The control starts: the document is printed."""
    path = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "seathold", "openapi"],
        env={**environment(jwt_seed=seed), **path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.startswith("Error: SEATHOLD_JWT_SEED is shorter")
        assert "Traceback" not in done.stderr
    else:
        assert '"openapi": "3.1' in done.stdout
