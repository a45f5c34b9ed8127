"""The rules, each on the syntax tree of a file; ``# house: RULE -- why`` on a line excuses it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

SECRET = re.compile(r"(^|_)(signature|digest|mac|hmac|secret|password|token_hash|code_hash)s?$")
PERSONAL = re.compile(r"^(body|email|phone|password|token|secret|authorization|cookie|headers)$")
MONEY = re.compile(r"(^|_)(amount|price|captured|refunded)$")
LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
FILE_LINES, FUNCTION_LINES = 400, 70
# Methods of constant texts.
HARMLESS = frozenset({"format", "replace", "join", "text", "strip"})
EXCUSE = re.compile(r"# house: (H\d) -- \S")


@dataclass(frozen=True, slots=True)
class Finding:
    path: str
    line: int
    rule: str
    says: str


Rule = Callable[[ast.AST], Iterator[tuple[ast.AST, str]]]


def check(path: str, source: str, names: Collection[str] | None = None) -> list[Finding]:
    """What of ``source`` breaks a rule, of all or those of ``names``, and is not excused."""
    lines = source.splitlines()
    rules = [(name, rule) for name, rule in RULES.items() if names is None or name in names]
    found = []
    for node in ast.walk(ast.parse(source)):
        for name, rule in rules:
            for where, says in rule(node):
                line: int = getattr(where, "lineno", 1)
                excuse = EXCUSE.search(lines[line - 1])
                if excuse is None or excuse[1] != name:
                    found.append(Finding(path, line, name, says))
    return sorted(found, key=lambda one: one.line)


def secrets_in_constant_time(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """``==`` on a secret tells by its time how much of a guess was right."""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
        sides = [node.left, *node.comparators]
        if any(SECRET.search(_name(side)) for side in sides) and not any(
            isinstance(side, ast.Constant) for side in sides
        ):
            yield node, "compare secrets with hmac.compare_digest"


def statements_are_written_out(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """A statement that is put together may be put together by a stranger: constants only."""
    if not isinstance(node, ast.Call) or _name(node.func) != "text" or not node.args:
        return
    statement = node.args[0]
    parts = [_name(part) for part in ast.walk(statement)]
    if any(part and not part.isupper() for part in parts if part not in HARMLESS):
        yield node, "a statement is made of constants, with bound parameters"


def logs_name_nobody(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Logs are kept, shipped and read by many: ids only."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    if node.func.attr in LOG_METHODS and _name(node.func.value) in ("log", "logger"):
        for keyword in node.keywords:
            if keyword.arg and PERSONAL.match(keyword.arg):
                yield keyword.value, f"`{keyword.arg}` does not belong in a log"


def money_is_whole(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """A fraction of a cent is nobody's, and a float loses whole ones."""
    is_float = isinstance(node, ast.Call) and _name(node.func) == "float" and bool(node.args)
    if is_float and MONEY.search(_name(node.args[0])):  # type: ignore[attr-defined]
        yield node, "money is an integer of minor units"
    is_division = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    if is_division and MONEY.search(_name(node.left)):  # type: ignore[attr-defined]
        yield node, "divide money by // and say where the rest goes"


def outbound_calls_are_wary(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """A redirect leads where nobody checked; without verification anybody answers."""
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            value = keyword.value
            if isinstance(value, ast.Constant):
                if keyword.arg == "follow_redirects" and value.value is True:
                    yield value, "follow no redirects"
                if keyword.arg == "verify" and value.value is False:
                    yield value, "verify certificates"


def read_in_one_go(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """What is longer than a person keeps in mind is two things."""
    if isinstance(node, ast.Module) and node.body and (node.body[-1].end_lineno or 0) > FILE_LINES:
        yield node, f"a file has {FILE_LINES} lines at most"
    match node:
        case (
            ast.FunctionDef(lineno=first, end_lineno=last)
            | ast.AsyncFunctionDef(lineno=first, end_lineno=last)
        ) if (last or 0) - first + 1 > FUNCTION_LINES:
            yield node, f"a function has {FUNCTION_LINES} lines at most"


def the_edge_commits(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """One command is one transaction: whoever commits halfway leaves half of it."""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "commit":
        yield node, "the transaction's block commits when it ends"


RULES: dict[str, Rule] = {
    "H1": secrets_in_constant_time,
    "H2": statements_are_written_out,
    "H3": logs_name_nobody,
    "H4": money_is_whole,
    "H5": outbound_calls_are_wary,
    "H6": read_in_one_go,
    "H7": the_edge_commits,
}


def _name(node: ast.AST) -> str:
    """The last part of a dotted name; empty for what has none."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
