"""What our production code never does, found on its syntax trees: no call that could run a
stranger's words, no weak algorithm, no chance where a secret is made, no credential in a URL."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.api_key import SECRET_BYTES as KEY_BYTES
from infra.opaque_tokens import SECRET_BYTES
from services.partner import SECRET_BYTES as PARTNER_BYTES
from services.second_factor import RECOVERY_BYTES

ROOT = Path(__file__).parents[2]
FOLDERS = {"activities", "api", "contracts", "domain", "infra", "loops", "readmodel", "services"}
# Modules that run, unpack, parse or hash in ways that we have no use for.
NEVER = {"pickle", "marshal", "shelve", "xml", "lxml", "yaml", "subprocess", "ldap3", "Crypto"}
# What runs words; a template or a pattern is made of constants alone.
CALLS = {"eval", "exec", "system", "popen", "from_string", "__import__"}
HASHES = {"sha256"}
PRIMITIVES = {"AESGCM", "Ed25519PrivateKey", "Ed25519PublicKey", "HKDF", "SHA256"}
FORMS = {"Encoding", "PublicFormat"}
MAKES_SECRETS = {
    *("infra/codec", "infra/opaque_tokens", "infra/sealing", "infra/totp"),
    *("services/api_key", "services/partner", "services/second_factor"),
}
CREDENTIAL = re.compile(r"(token|password|secret|api_?key|code|email|phone)s?$", re.IGNORECASE)


def sources() -> Iterator[tuple[str, ast.AST]]:
    for folder in sorted(FOLDERS | {"workflows", "seathold/codec"}):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def habits(tree: ast.AST) -> list[str]:
    """What ``tree`` does of what we do not do."""
    return [found for node in ast.walk(tree) for found in (*imported(node), *called(node))]


def imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (one.name for one in names if one.name.split(".")[0] in NEVER)
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] in NEVER:
            yield module
        case ast.ImportFrom(module=str(module), names=names) if "cryptography.hazmat" in module:
            yield from (one.name for one in names if one.name not in PRIMITIVES | FORMS)


def called(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in CALLS:
            yield name
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name), args=[pattern, *_]):
            parts = [part.id for part in ast.walk(pattern) if isinstance(part, ast.Name)]
            yield from (f"re.{name}({one})" for one in parts if not one.isupper())
        case ast.Attribute(value=ast.Name(id="hashlib"), attr=name) if name not in HASHES:
            yield f"hashlib.{name}"
        case ast.keyword(arg="shell", value=ast.Constant(value=True)):
            yield "shell=True"


def test_our_code_has_none_of_these_habits() -> None:
    found = {path: habits(tree) for path, tree in sources()}
    assert len(found) > 100
    assert {path: told for path, told in found.items() if told} == {}


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("import pickle", "pickle"),
        ("from xml.etree import ElementTree", "xml.etree"),
        ("eval(body.text)", "eval"),
        ("os.system(name)", "system"),
        ("environment.from_string(title)", "from_string"),
        ("re.search(query, text)", "re.search(query)"),
        ("hashlib.md5(password)", "hashlib.md5"),
        ("from cryptography.hazmat.primitives.ciphers.modes import ECB", "ECB"),
        ("run(words, shell=True)", "shell=True"),
    ],
)
def test_each_habit_would_be_found(source: str, named: str) -> None:
    assert habits(ast.parse(source)) == [named]


@pytest.mark.parametrize("name", sorted(MAKES_SECRETS))
def test_what_makes_secrets_asks_the_system_for_chance(name: str) -> None:
    tree = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
    names = {
        one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names
    }
    assert "random" not in names
    assert names & {"os", "secrets"}


def test_secrets_are_too_long_to_be_guessed() -> None:
    """In bits; a recovery code may be kept as a plain hash from 112 on."""
    assert min(SECRET_BYTES, KEY_BYTES, PARTNER_BYTES) * 8 >= 128
    assert RECOVERY_BYTES * 8 >= 112


def routes_in(folder: str) -> set[str]:
    """The methods for which functions of the folder are routes."""
    return {
        mark.func.attr
        for path in (ROOT / "api" / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.AsyncFunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute)
    }


def test_what_changes_something_is_asked_for_by_a_method_that_changes() -> None:
    """Queries are GET alone, and the import rules keep them from every command."""
    assert routes_in("queries") | routes_in("streams") == {"get"}
    assert routes_in("commands") == {"post", "patch", "delete"}
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    [apart] = [
        one
        for one in rules["importlinter"]["contracts"]
        if one["name"] == "the query side never reaches the command side"
    ]
    assert "api.queries" in apart["source_modules"]
    assert "services" in apart["forbidden_modules"]


def credentials_in_addresses(document: object) -> list[str]:
    """Parameters of paths and queries that are named like a credential or a person's data."""
    named = re.findall(
        r'"in": "(?:query|path)", "name": "(\w+)"', json.dumps(document, sort_keys=True)
    )
    return sorted({name for name in named if CREDENTIAL.search(name)})


def test_no_credential_travels_in_an_address() -> None:
    """The ``ticket`` of a waiting room is a place in a queue, and opens nothing else."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    assert credentials_in_addresses(document) == []
    seen = {"/x": {"get": {"parameters": [{"in": "query", "name": "access_token"}]}}}
    assert credentials_in_addresses({"paths": seen}) == ["access_token"]
