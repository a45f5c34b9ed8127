"""What one stack is made of: ports, addresses, environment, and how each process is launched."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from infra.settings import Settings, misspelt
from seathold.stack import ports, postgres, roles, secrets, temporal, valkey
from seathold.stack.ports import LOOPBACK
from seathold.stack.process import Child

ADMIN_EMAIL = "admin@example.test"
USUAL_PORTS = {
    "postgres": 5433,
    "redis": 6379,
    "temporal": 7233,
    "temporal_ui": 8233,
    "sandbox": 8090,
    "mail": 8025,
    "codec": 8088,
    "smtp": 8026,
    "api": 8081,
}
# Each server and the variable that replaces it by one that runs already.
REPLACED_BY = {
    "postgres": "SEATHOLD_DATABASE_URL",
    "redis": "SEATHOLD_REDIS_URL",
    "temporal": "TEMPORAL_ADDRESS",
}
# What needs no server of ours to start.
STAND_INS = ("sandbox", "mail", "codec")
MIGRATE_URL = "SEATHOLD_MIGRATE_DATABASE_URL"


class Plan:
    """One stack under ``run_dir``.

    ``extra`` is added to what the environment and ``.env`` say. Every process inherits ``lock``,
    so that the folder is in use until the last of them is gone.

    Raises:
        ValidationError: a setting makes no sense.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        policy: ports.Policy,
        extra: Mapping[str, str],
        lock: int,
        say: Callable[[str], None],
    ) -> None:
        self.dir = run_dir
        self._lock = lock
        self._say = say
        dotenv = {name: value for name, value in dotenv_values(".env").items() if value}
        self._given = {**dotenv, **os.environ, **extra}
        for name, meant in misspelt(self._given).items():
            say(f"{name} is no setting and changes nothing; {meant} is one.")
        self._settings = _settings(self._given)
        self.secrets = secrets.load(run_dir / "secrets.json")
        taken: set[int] = set()
        self._held = {
            name: ports.reserve(usual, policy, taken) for name, usual in USUAL_PORTS.items()
        }
        self.ports = {name: ports.port_of(held) for name, held in self._held.items()}
        self.listener: socket.socket = ports.listening_socket(self.ports["api"])

    def close(self) -> None:
        """Give the ports back."""
        for held in (*self._held.values(), self.listener):
            held.close()

    @property
    def servers(self) -> list[str]:
        """The servers that we start ourselves; the slowest to find comes first."""
        names = ("temporal", "postgres", "redis")
        return [name for name in names if not self._given.get(REPLACED_BY[name])]

    @property
    def workers(self) -> list[str]:
        return [f"worker-{n}" for n in range(self._settings.worker_processes)]

    @property
    def apis(self) -> list[str]:
        return [f"api-{n}" for n in range(self._settings.api_workers)]

    def url(self, name: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[name]}"

    @property
    def database_url(self) -> str:
        """As the application connects."""
        embedded = self._embedded_url(roles.APP, self.secrets.database_app_password)
        return self._given.get("SEATHOLD_DATABASE_URL") or embedded

    @property
    def migrate_database_url(self) -> str:
        """As the owner of the tables connects; where one URL was given, that."""
        if given := self._given.get("SEATHOLD_DATABASE_URL"):
            return self._given.get(MIGRATE_URL) or given
        return self._embedded_url(roles.OWNER, self.secrets.database_owner_password)

    def _embedded_url(self, user: str, password: str) -> str:
        return postgres.database_url(self.ports["postgres"], password, user=user)

    @property
    def redis_url(self) -> str:
        return self._given.get("SEATHOLD_REDIS_URL") or valkey.url(self.ports["redis"])

    @property
    def temporal_address(self) -> str:
        return self._given.get("TEMPORAL_ADDRESS") or f"{LOOPBACK}:{self.ports['temporal']}"

    @cached_property
    def environment(self) -> dict[str, str]:
        """All that our own processes are told; only what prepares the database owns it."""
        told = {
            "PYTHONUNBUFFERED": "1",
            "SEATHOLD_JWT_SEED": self.secrets.jwt_seed,
            "SEATHOLD_WEBHOOK_SECRET": self.secrets.webhook_secret,
            "SEATHOLD_PUBLIC_URL": self.url("api"),
            **self._given,
            "SEATHOLD_DATABASE_URL": self.database_url,
            "SEATHOLD_REDIS_URL": self.redis_url,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "SEATHOLD_SANDBOX_URL": self.url("sandbox"),
            "SEATHOLD_MAIL_URL": self.url("mail"),
            "SEATHOLD_API_PORT": str(self.ports["api"]),
            "SEATHOLD_SMTP_HOST": LOOPBACK,
            "SEATHOLD_SMTP_PORT": str(self.ports["smtp"]),
            "SEATHOLD_SMS_URL": self.url("mail") + "/api/sms",
        }
        return {name: value for name, value in told.items() if name != MIGRATE_URL}

    def launch(self, name: str) -> Child:
        """Start one process; it gets ready by itself."""
        start = {
            "postgres": self._postgres,
            "redis": self._redis,
            "temporal": self._temporal,
            "prepare": self._prepare,
        }.get(name)
        return start() if start else self._own(name)

    def log(self, name: str) -> Path:
        return self.dir / "logs" / f"{name}.log"

    def info(self, pids: Mapping[str, int]) -> dict[str, Any]:
        """What ``dev.json`` holds."""
        processes: dict[str, Any] = {"api": [], "worker": []}
        for name, pid in pids.items():
            role, dash, _ = name.partition("-")
            if dash:
                processes[role].append(pid)
            else:
                processes[role] = pid
        return {
            "api_url": self.url("api"),
            "web_url": self.url("api") + "/",
            "temporal_address": self.temporal_address,
            "temporal_namespace": self._given.get("TEMPORAL_NAMESPACE", "default"),
            "temporal_ui_url": self.url("temporal_ui"),
            "database_url": self.database_url,
            "migrate_database_url": self.migrate_database_url,
            "redis_url": self.redis_url,
            "sandbox_url": self.url("sandbox"),
            "mail_url": self.url("mail"),
            "codec_url": self.url("codec"),
            "webhook_secret": self.environment["SEATHOLD_WEBHOOK_SECRET"],
            "admin": {"email": ADMIN_EMAIL, "password": self.secrets.admin_password},
            "processes": processes,
        }

    def _postgres(self) -> Child:
        return postgres.launch(
            self.dir / "postgres",
            port=self.ports["postgres"],
            password=self.secrets.database_password,
            role_passwords=roles.RolePasswords(
                owner=self.secrets.database_owner_password, app=self.secrets.database_app_password
            ),
            log=self.log("postgres"),
            pass_fds=[self._lock],
        )

    def _redis(self) -> Child:
        return valkey.launch(
            self.dir / "redis",
            port=self.ports["redis"],
            log=self.log("redis"),
            pass_fds=[self._lock],
        )

    def _temporal(self) -> Child:
        return temporal.launch(
            temporal.find(self._say),
            self.dir / "temporal",
            port=self.ports["temporal"],
            ui_port=self.ports["temporal_ui"],
            log=self.log("temporal"),
            namespaces=[self._given.get("TEMPORAL_NAMESPACE", "default")],
            pass_fds=[self._lock],
        )

    def _prepare(self) -> Child:
        own = {
            MIGRATE_URL: self.migrate_database_url,
            "SEATHOLD_ADMIN_EMAIL": ADMIN_EMAIL,
            "SEATHOLD_ADMIN_PASSWORD": self.secrets.admin_password,
        }
        return Child(
            "prepare",
            [sys.executable, "-m", "seathold.stack.prepare"],
            log=self.log("prepare"),
            env={**self.environment, **own},
            pass_fds=[self._lock],
        )

    def _own(self, name: str) -> Child:
        role = name.partition("-")[0]
        port = str(self.ports.get(role, 0))
        database = str(self.dir / f"{role}.sqlite")
        # What a worker that ran before has left would speak for this one.
        sign = self.dir / f"{name}.ready"
        sign.unlink(missing_ok=True)
        options: dict[str, list[str]] = {
            "sandbox": [
                *("--port", port, "--db", database),
                *("--webhook-url", self.url("api") + "/api/webhooks/sandbox"),
            ],
            "codec": ["--port", port, *self._ui_origins()],
            "mail": ["--port", port, "--smtp-port", str(self.ports["smtp"]), "--db", database],
            "api": ["--fd", str(self.listener.fileno())],
            "worker": ["--ready-file", str(sign)],
        }
        path = {
            "sandbox": "/healthz",
            "mail": "/healthz",
            "codec": "/healthz",
            "api": "/readyz",
        }.get(role)
        fds = [self._lock, self.listener.fileno()] if role == "api" else [self._lock]
        return Child(
            name,
            [sys.executable, "-m", "seathold", role, *options[role]],
            log=self.log(name),
            ready=lambda: _is_healthy(self.url(role) + path) if path else sign.exists(),
            env=self.environment,
            # They have to withstand this at any time, and draining could outlast us by long.
            death_signal=signal.SIGKILL,
            pass_fds=fds,
        )

    def _ui_origins(self) -> list[str]:
        port = self.ports["temporal_ui"]
        return [f"--ui-origin=http://{host}:{port}" for host in (LOOPBACK, "localhost")]


def _settings(given: Mapping[str, str]) -> Settings:
    """What our processes will read, before any of them starts."""
    prefix = "SEATHOLD_"
    values: dict[str, Any] = {
        name.removeprefix(prefix).lower(): value
        for name, value in given.items()
        if name.startswith(prefix)
    }
    return Settings(_env_file=None, **values)


def _is_healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
