"""``docs/asvs.yml`` has each item once, and whatever the documents name as a proof exists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.__main__ import BENCHMARKS, CAMPAIGNS

ROOT = Path(__file__).parents[2]
# How many items of levels 1 and 2 each chapter of ASVS 5.0.0 has.
SIZES = (27, 11, 19, 10, 9, 35, 18, 7, 7, 29, 14, 9, 13, 9, 13, 16, 7)
CHAPTERS = dict(enumerate(SIZES, start=1))
LEVEL_1 = 69
# What is open may become less, and more only in the sight of whoever changes this line.
OPEN_AT_MOST = 0
OUTCOMES = {"tests", "not_applicable", "open"}
KEYS = {"level", "item", "documents"} | OUTCOMES
Items = dict[str, dict[str, Any]]


@cache
def named_tests(path: Path) -> frozenset[str]:
    """``name`` and ``Class::name`` of each test in the file; none if there is no file."""
    if not path.is_file():
        return frozenset()

    def named(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("test_"):
                    yield prefix + node.name
            elif isinstance(node, ast.ClassDef):
                yield from named(node.body, f"{prefix}{node.name}::")

    return frozenset(named(ast.parse(path.read_text(encoding="utf-8")).body, ""))


@cache
def headings(path: Path) -> frozenset[str]:
    """The file's headings as links name them; none if there is no file."""
    if not path.is_file():
        return frozenset()
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in found)


def complaints(items: Items) -> list[str]:
    """What is wrong with the list."""
    counted = Counter(int(number.split(".")[0]) for number in items)
    found = [
        f"chapter {chapter}: {counted[chapter]} items and not {CHAPTERS.get(chapter, 0)}"
        for chapter in sorted(CHAPTERS | counted)
        if counted[chapter] != CHAPTERS.get(chapter, 0)
    ]
    for number, item in items.items():
        found += [f"{number}: {said}" for said in _wrong_with(item)]
    return found


def _wrong_with(item: dict[str, Any]) -> Iterator[str]:
    if len(OUTCOMES & item.keys()) != 1 or not item.keys() <= KEYS:
        yield f"has {sorted(item)}"
    if item.get("level") not in (1, 2) or not item.get("item"):
        yield "has no level or no words"
    for outcome in OUTCOMES & item.keys():
        if not item[outcome]:
            yield f"{outcome} says nothing"
    for test in item.get("tests", ()):
        path, _, name = test.partition("::")
        if name not in named_tests(ROOT / path):
            yield f"there is no {test}"
    for document in item.get("documents", ()):
        path, _, heading = document.partition("#")
        if heading not in headings(ROOT / path):
            yield f"there is no {document}"


class Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last."""


def _mapping(loader: Strict, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise ValueError(f"stands twice: {twice}")
    return loader.construct_mapping(node, deep=True)


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(text: str) -> Items:
    items: Items = yaml.load(text, Strict)
    return items


@pytest.fixture(scope="module")
def items() -> Items:
    return read((ROOT / "docs" / "asvs.yml").read_text(encoding="utf-8"))


def test_each_item_is_shown_or_explained_or_open(items: Items) -> None:
    assert sum(CHAPTERS.values()) == 253
    assert complaints(items) == []
    assert sum(item["level"] == 1 for item in items.values()) == LEVEL_1
    assert sum("open" in item for item in items.values()) <= OPEN_AT_MOST


def test_what_is_wrong_with_the_list_is_found(items: Items) -> None:
    """The control: a missing item, a misspelt test, two outcomes, none, an item that is none."""
    shown = next(number for number, item in items.items() if "tests" in item)
    item = items[shown]
    test = item["tests"][0]
    wrong: dict[str, Items] = {
        "chapter 1: 26 items and not 27": {n: i for n, i in items.items() if n != "1.1.1"},
        "chapter 18: 1 items and not 0": items | {"18.1.1": item},
        f"{shown}: there is no {test}s": items | {shown: item | {"tests": [f"{test}s"]}},
        f"{shown}: there is no tests/x.py::y": items | {shown: item | {"tests": ["tests/x.py::y"]}},
        f"{shown}: there is no README.md#no": items
        | {shown: item | {"documents": ["README.md#no"]}},
        f"{shown}: tests says nothing": items | {shown: item | {"tests": []}},
        f"{shown}: has ['item', 'level', 'open', 'tests']": items | {shown: item | {"open": "x"}},
        f"{shown}: has ['item', 'level']": items | {shown: {"item": "x", "level": 1}},
        f"{shown}: has no level or no words": items | {shown: item | {"level": 3}},
    }
    for said, broken in wrong.items():
        assert complaints(broken) == [said]
    with pytest.raises(ValueError, match="stands twice"):
        read("'1.1.1': {}\n'1.1.1': {}\n")


def test_a_document_is_where_it_is_said_to_be(items: Items) -> None:
    """The proof of items that ask for something written: each of them names where it is."""
    own = "tests/unit/test_asvs.py::test_a_document_is_where_it_is_said_to_be"
    for number, item in items.items():
        if own in item.get("tests", ()):
            assert item.get("documents"), number
        for document in item.get("documents", ()):
            path, _, heading = document.partition("#")
            assert heading in headings(ROOT / path), number


def missing(text: str) -> list[str]:
    """Paths of tests and targets of make that ``text`` names in backticks and that do not exist."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    targets |= {f"bench-{one}" for one in BENCHMARKS} | set(CAMPAIGNS)
    paths = re.findall(r"`(?:pytest )?(tests/[\w./-]*)(?:::[\w:]+)?`", text)
    named = re.findall(r"`make ([a-z][\w-]*)", text)
    return [
        *(path for path in paths if not (ROOT / path).exists()),
        *(f"make {one}" for one in named if one not in targets),
    ]


def test_what_documents_name_exists() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts = {str(one.relative_to(ROOT)): one.read_text(encoding="utf-8") for one in documents}
    assert {"SECURITY.md", "docs/threat-model.md"} <= texts.keys()
    assert {name: absent for name, text in texts.items() if (absent := missing(text))} == {}


def test_a_name_of_nothing_is_found() -> None:
    text = "`tests/partners`, `tests/race`, `make audits`, `make audit`, `pytest tests/portss`"
    assert missing(text) == ["tests/partners", "tests/portss", "make audits"]
