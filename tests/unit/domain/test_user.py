"""By which key an address is unique, and that every spelling of it has that key."""

from __future__ import annotations

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from domain.user import email_key

# Of alphabets whose letters have more than one form.
LETTERS = [*range(0x80, 0x600), *range(0x10A0, 0x1100), *range(0x1E00, 0x2000)]
# A mark that shows nothing and is left out of a domain, and a sigma of old manuscripts: nobody
# types them.
UNTYPED = {0x34F, 0x3F2}


@pytest.mark.parametrize(
    "spelled",
    [
        "i7@exämple.test",
        " I7@EXÄMPLE.test ",
        "i7@xn--exmple-cua.test",
        "I7@XN--EXMPLE-CUA.TEST",
        "i7@exa\u0308mple.test",
        "i7@exämple\u3002test",
        "i7\uff20exämple.test",
        "i7@\uff58n--exmple-cua.test",
    ],
)
def test_every_spelling_of_an_address_has_one_key(spelled: str) -> None:
    assert email_key(spelled) == "i7@exämple.test"


def test_what_is_registered_and_what_mail_goes_to_have_the_key_of_what_was_typed() -> None:
    looked_at = 0
    for letter in set(LETTERS) - UNTYPED:
        typed = f"ada@a{chr(letter)}b.test"
        try:
            found = validate_email(typed, check_deliverability=False, test_environment=True)
        except EmailNotValidError:
            continue
        looked_at += 1
        assert found.ascii_email is not None
        assert len({email_key(one) for one in (typed, found.normalized, found.ascii_email)}) == 1
    assert looked_at > 1000, "the control: not all of them were refused"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@straße.test", "ada@strasse.test"),
        ("ada@xn--strae-oqa.test", "ada@strasse.test"),
        ("ada@ς.test", "ada@σ.test"),
        ("ada@exämple.test", "ada@example.test"),
        ("exämple@example.test", "xn--exmple-cua@example.test"),
    ],
)
def test_addresses_of_two_people_have_two_keys(one: str, other: str) -> None:
    assert email_key(one) != email_key(other)


@pytest.mark.parametrize(
    "domain",
    [
        "xn--exämple.test",  # letters of its own within what stands for them
        "xn--9.test",  # ends in the midst of a letter
        "xn--99999b.test",  # no letter has such a number
        "xn--ib9b.test",  # half a character
        "a..test",
        "",
    ],
)
def test_a_domain_that_cannot_be_keeps_its_spelling(domain: str) -> None:
    assert email_key(f"ADA@{domain}") == f"ada@{domain}"


@given(st.text(max_size=320), st.sampled_from(["", "a@", "a@xn--", "a@b.xn--"]))
def test_whatever_is_typed_has_a_key_that_can_be_stored(typed: str, before: str) -> None:
    email_key(before + typed).encode()
