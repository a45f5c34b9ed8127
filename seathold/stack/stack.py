"""One stack on one machine: every server and process of Seathold, under one folder."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seathold.stack import ports, postgres, secrets, temporal, valkey
from seathold.stack.ports import LOOPBACK
from seathold.stack.process import Child, StackError

ADMIN_EMAIL = "admin@example.test"
USUAL_PORTS = {
    "postgres": 5433,
    "redis": 6379,
    "temporal": 7233,
    "temporal_ui": 8233,
    "sandbox": 8090,
    "mail": 8025,
    "smtp": 8026,
    "api": 8081,
}
# A process that dies again and again is started less and less often.
RESTART_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
CALM_SECONDS = 30.0


class Stack:
    """Start with ``with``; ``info`` is then what ``dev.json`` holds.

    ``env`` is added to the environment of our own processes. Setting
    ``SEATHOLD_DATABASE_URL``, ``SEATHOLD_REDIS_URL`` or ``TEMPORAL_ADDRESS`` outside replaces
    that embedded part.

    Raises:
        StackError: a part cannot run; one sentence names the fix.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        ports: ports.Policy = "default",
        env: Mapping[str, str] | None = None,
        seed: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._dir = run_dir.resolve()
        self._policy = ports
        self._extra = dict(env or {})
        self._seed = seed
        self._say = say
        self._children: dict[str, Child] = {}
        self._restarts: dict[str, tuple[int, float]] = {}
        self._cleanup = ExitStack()
        self.info: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    @property
    def children(self) -> Mapping[str, Child]:
        """Every process by name; our own are ``api``, ``worker-0``, …"""
        return self._children

    def tend(self) -> None:
        """Restart a dead API or worker.

        Raises:
            StackError: a server that everything stands on has ended.
        """
        for name, child in list(self._children.items()):
            if child.is_running:
                continue
            if name.partition("-")[0] not in ("api", "worker"):
                raise StackError(f"{name} has ended. {child.last_words()}")
            count, since = self._restarts.get(name, (0, 0.0))
            now = time.monotonic()
            if now - since > CALM_SECONDS:
                count = 0
            if now - since < RESTART_SECONDS[min(count, len(RESTART_SECONDS) - 1)]:
                continue
            self._restarts[name] = (count + 1, now)
            self._say(f"{name} has ended; starting it again.")
            self._start_own(name)
            self._write_info()

    def kill(self, name: str) -> None:
        """``kill -9`` one of our processes (tests do)."""
        os.kill(self._children[name].pid, 9)

    def _start(self) -> None:
        self._dir.mkdir(parents=True, exist_ok=True)
        self._secrets = secrets.load(self._dir / "secrets.json")
        taken: set[int] = set()
        self._ports = {
            name: ports.choose(usual, self._policy, taken) for name, usual in USUAL_PORTS.items()
        }
        self._listener = ports.listening_socket(self._ports["api"])
        self._cleanup.callback(self._listener.close)
        self._start_servers()
        self._environment = self._own_environment()
        self._run("migrate")
        self._start_own("sandbox")
        self._start_own("mail")
        self._wait_http("sandbox", self._ports["sandbox"])
        self._wait_http("mail", self._ports["mail"])
        if self._seed:
            self._say("Seeding the demo catalogue …")
            self._run("seed")
        self._run("admin", "create", "--email", ADMIN_EMAIL)
        for number in range(int(self._environment.get("SEATHOLD_WORKER_PROCESSES", "1"))):
            self._start_own(f"worker-{number}")
        for number in range(int(self._environment.get("SEATHOLD_API_WORKERS", "1"))):
            self._start_own(f"api-{number}")
        self._wait_http("api-0", self._ports["api"], "/readyz")
        self._cleanup.callback((self._dir / "dev.json").unlink, missing_ok=True)
        self._write_info()

    def _start_servers(self) -> None:
        given = os.environ
        self._database_url = given.get("SEATHOLD_DATABASE_URL", "")
        self._redis_url = given.get("SEATHOLD_REDIS_URL", "")
        self._temporal_address = given.get("TEMPORAL_ADDRESS", "")
        if not self._database_url:
            self._say("Starting PostgreSQL …")
            port, password = self._ports["postgres"], self._secrets.database_password
            self._keep(
                postgres.start(
                    self._dir / "postgres", port=port, password=password, log=self._log("postgres")
                )
            )
            self._database_url = postgres.database_url(port, password)
        if not self._redis_url:
            port = self._ports["redis"]
            self._keep(valkey.start(self._dir / "redis", port=port, log=self._log("redis")))
            self._redis_url = valkey.url(port)
        if not self._temporal_address:
            self._say("Starting Temporal …")
            port = self._ports["temporal"]
            self._keep(
                temporal.start(
                    self._dir / "temporal",
                    port=port,
                    ui_port=self._ports["temporal_ui"],
                    log=self._log("temporal"),
                    say=self._say,
                )
            )
            self._temporal_address = f"{LOOPBACK}:{port}"

    def _own_environment(self) -> dict[str, str]:
        numbers = self._ports
        return {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "SEATHOLD_DATABASE_URL": self._database_url,
            "SEATHOLD_REDIS_URL": self._redis_url,
            "TEMPORAL_ADDRESS": self._temporal_address,
            "SEATHOLD_JWT_SEED": self._secrets.jwt_seed,
            "SEATHOLD_WEBHOOK_SECRET": self._secrets.webhook_secret,
            "SEATHOLD_ADMIN_PASSWORD": self._secrets.admin_password,
            "SEATHOLD_SANDBOX_URL": f"http://{LOOPBACK}:{numbers['sandbox']}",
            "SEATHOLD_PUBLIC_URL": f"http://{LOOPBACK}:{numbers['api']}",
            "SEATHOLD_API_PORT": str(numbers["api"]),
            "SEATHOLD_SMTP_HOST": LOOPBACK,
            "SEATHOLD_SMTP_PORT": str(numbers["smtp"]),
            "SEATHOLD_SMS_URL": f"http://{LOOPBACK}:{numbers['mail']}/api/sms",
            **self._extra,
        }

    def _command(self, name: str) -> list[str]:
        numbers = self._ports
        role = name.partition("-")[0]
        options: dict[str, list[str]] = {
            "sandbox": [
                *("--port", str(numbers["sandbox"]), "--db", str(self._dir / "sandbox.sqlite")),
                *("--webhook-url", f"http://{LOOPBACK}:{numbers['api']}/api/webhooks/sandbox"),
            ],
            "mail": [
                *("--port", str(numbers["mail"]), "--smtp-port", str(numbers["smtp"])),
                *("--db", str(self._dir / "mail.sqlite")),
            ],
            "api": ["--fd", str(self._listener.fileno())],
        }
        return [sys.executable, "-m", "seathold", role, *options.get(role, [])]

    def _start_own(self, name: str) -> None:
        child = Child(
            name,
            self._command(name),
            log=self._log(name),
            env=self._environment,
            pass_fds=[self._listener.fileno()] if name.startswith("api") else [],
        )
        if name in self._children:
            self._children[name] = child
        else:
            self._keep(child)

    def _run(self, *arguments: str) -> None:
        """Run one of our commands to its end."""
        child = Child(
            arguments[0],
            [sys.executable, "-m", "seathold", *arguments],
            log=self._log(arguments[0]),
            env=self._environment,
        )
        if child.wait(seconds=300) != 0:
            raise StackError(f"`seathold {' '.join(arguments)}` failed. {child.last_words()}")

    def _keep(self, child: Child) -> None:
        """Remember a child; whoever bears its name at the end is stopped."""
        self._children[child.name] = child
        self._cleanup.callback(lambda: self._children[child.name].stop())

    def _log(self, name: str) -> Path:
        return self._dir / "logs" / f"{name}.log"

    def _wait_http(self, name: str, port: int, path: str = "/healthz") -> None:
        url = f"http://{LOOPBACK}:{port}{path}"
        self._children[name].wait_until(lambda: _is_healthy(url), seconds=60)

    def _write_info(self) -> None:
        numbers = self._ports
        api_url = f"http://{LOOPBACK}:{numbers['api']}"
        self.info = {
            "api_url": api_url,
            "web_url": f"{api_url}/",
            "temporal_address": self._temporal_address,
            "temporal_namespace": self._environment.get("TEMPORAL_NAMESPACE", "default"),
            "temporal_ui_url": f"http://{LOOPBACK}:{numbers['temporal_ui']}",
            "database_url": self._database_url,
            "redis_url": self._redis_url,
            "sandbox_url": self._environment["SEATHOLD_SANDBOX_URL"],
            "mail_url": f"http://{LOOPBACK}:{numbers['mail']}",
            "webhook_secret": self._secrets.webhook_secret,
            "admin": {"email": ADMIN_EMAIL, "password": self._secrets.admin_password},
            "processes": self._pids(),
        }
        secrets.write_private(self._dir / "dev.json", json.dumps(self.info, indent=1))

    def _pids(self) -> dict[str, Any]:
        found: dict[str, Any] = {"api": [], "worker": []}
        for name, child in self._children.items():
            role = name.partition("-")[0]
            if role in ("api", "worker"):
                found[role].append(child.pid)
            else:
                found[role] = child.pid
        return found


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
