"""Pages for people: whole in themselves, and wherever a link of ours leads there is one."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import httpx2
import pytest
from fastapi import FastAPI

from api import openapi
from api.pages.routes import POLICY
from infra.notify.account import PAGES
from tests.helpers.problems import assert_problem

HTML = ("/docs", "/account/verify", "/account/reset", "/back")
LINKED = re.compile(r'\b(?:src|href)="([^"]*)"')
# A policy that trusts no script in the page itself lets none of these run.
INLINE = re.compile(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:")
CALLED = re.compile(r'data-call="([^"]*)"')
ASKED = re.compile(r'<input name="([^"]*)"[^>]* minlength="(\d+)" maxlength="(\d+)"')


@pytest.mark.parametrize("path", HTML)
class TestPage:
    async def test_it_is_whole_and_fetches_nothing_from_elsewhere(
        self, client: httpx2.AsyncClient, path: str
    ) -> None:
        page = await client.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert not INLINE.search(page.text)
        linked = {urljoin(path, link) for link in LINKED.findall(page.text) if link != "data:,"}
        assert linked
        for link in linked:
            assert link.startswith("/")
            part = await client.get(link)
            assert part.status_code == 200, link
            kind = {"css": "text/css", "js": "text/javascript"}[link.rsplit(".", 1)[1]]
            assert part.headers["content-type"].startswith(kind)

    async def test_nothing_but_its_own_files_may_run_in_it(
        self, client: httpx2.AsyncClient, path: str
    ) -> None:
        told = (await client.get(path)).headers["content-security-policy"]
        assert told == POLICY
        assert "script-src 'self'" in told
        assert "unsafe" not in told
        assert "//" not in told


@pytest.mark.parametrize("page", PAGES.values())
async def test_a_mailed_link_leads_to_a_page_that_asks_what_the_api_wants(
    client: httpx2.AsyncClient, app: FastAPI, page: str
) -> None:
    path = f"/account/{page}"
    html = (await client.get(path)).text
    [called] = CALLED.findall(html)
    document = openapi.document(app)
    operation = document["paths"][urljoin(path, called)]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    wanted = document["components"]["schemas"][body.rsplit("/", 1)[1]]["properties"]
    asked = {name: (int(least), int(most)) for name, least, most in ASKED.findall(html)}
    assert {"token", *asked} == set(wanted)
    for name, lengths in asked.items():
        assert (wanted[name]["minLength"], wanted[name]["maxLength"]) == lengths
        assert "{} to {} characters".format(*lengths) in html


@pytest.mark.parametrize("path", ["/account/page", "/account/..%2Fdocs.html", "/docs/favicon.png"])
async def test_nothing_else_is_given_away(client: httpx2.AsyncClient, path: str) -> None:
    assert_problem(await client.get(path), 404, "not_found")
