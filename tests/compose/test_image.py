"""The image: built in stages, without build tools, secrets or root in the one that runs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from docker.healthcheck import main as healthcheck
from tests.compose.stack_file import ROOT

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
BUILD, RUN = DOCKERFILE.split("\nFROM ")[1:]


def is_left_out(name: str) -> bool:
    """Whether .dockerignore leaves out this entry of the top folder."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    return any(fnmatch(name, pattern) for pattern in patterns if "/" not in pattern)


class TestDockerfile:
    def test_dependencies_are_the_locked_ones(self) -> None:
        assert BUILD.count("uv sync --locked --no-dev") == 2
        assert "UV_COMPILE_BYTECODE=1" in BUILD

    def test_it_runs_as_a_user_without_rights(self) -> None:
        users = [line.split()[1] for line in RUN.splitlines() if line.startswith("USER ")]
        assert users == ["10001:10001"]
        assert "COPY --from=build /app /app" in RUN, "copied as root: the code cannot change itself"

    def test_the_run_stage_has_no_build_tools(self) -> None:
        for tool in ("uv ", "pip ", "apt", "gcc"):
            assert tool not in RUN, tool

    def test_it_is_the_command_line_and_says_how_it_feels(self) -> None:
        assert 'ENTRYPOINT ["seathold"]' in RUN
        assert "HEALTHCHECK" in RUN


class TestContext:
    def test_what_runs_is_copied(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        packages = project["tool"]["importlinter"]["root_packages"]
        for name in [*packages, "worker.py", "migrations", "alembic.ini", "uv.lock", "README.md"]:
            assert (ROOT / name).exists()
            assert not is_left_out(name), name

    @pytest.mark.parametrize("name", [".env", ".git", ".run", ".venv", "tests", "docs"])
    def test_what_does_not_run_is_not(self, name: str) -> None:
        assert is_left_out(name)


@contextmanager
def server(status: int) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/"
        finally:
            listening.shutdown()
            thread.join()


class TestHealthcheck:
    def test_an_answer_of_200_is_healthy(self) -> None:
        with server(200) as url:
            assert healthcheck([url]) == 0

    def test_no_proxy_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        with server(200) as url:
            assert healthcheck([url]) == 0

    def test_503_is_not(self) -> None:
        with server(503) as url:
            assert healthcheck([url]) == 1

    def test_nobody_there_is_not(self) -> None:
        with server(200) as url:
            pass
        assert healthcheck([url]) == 1
