"""S30: nothing in a header or an address can start another header or name another recipient."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_understudy.contrib.mail import InvalidMail, parse_address
from flask_understudy.contrib.mail.headers import one_line

LINE_ENDS = ["\r\n", "\n", "\r", "\x00", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("end", LINE_ENDS)
def test_line_end_in_a_header_is_refused(end: str) -> None:
    with pytest.raises(InvalidMail, match="subject has a line end"):
        one_line("subject", f"Hello{end}Bcc: eve@example.com")
    with pytest.raises(InvalidMail):
        one_line("subject", f"Hello{end}")


@pytest.mark.parametrize(
    "text",
    [
        "=?utf-8?q?Hello=0D=0ABcc:_eve@example.com?=",
        "=?utf-8?b?SGVsbG8NCkJjYzogZXZlQGV4YW1wbGUuY29t?=",
        "Hi =?utf-8?q?a=0Ab?= there",
        "=?utf-16?b?CgA=?=",
        "=?utf-8?q?=E2=80=A8?=",
        "=?utf-8?b?not base64!?=",
        "=?klingon?q?a?=",
    ],
)
def test_line_end_in_an_encoded_word_is_refused(text: str) -> None:
    with pytest.raises(InvalidMail):
        one_line("subject", text)


@pytest.mark.parametrize(
    "text", ["", "Hello", "Grüße aus Zürich", "a =? b", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "\tindented"]
)
def test_one_line_is_left_alone(text: str) -> None:
    assert one_line("subject", text) == text


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ada@example.com", "", "ada@example.com"),
        (" ada@example.com ", "", "ada@example.com"),
        ("Ada <ada@example.com>", "Ada", "ada@example.com"),
        ('"Lovelace, Ada" <ada@example.com>', "Lovelace, Ada", "ada@example.com"),
        ("<ada@example.com>", "", "ada@example.com"),
        ("Zoë <zoe+news@mail.example.com>", "Zoë", "zoe+news@mail.example.com"),
        ("ada@münchen.example", "", "ada@xn--mnchen-3ya.example"),
        ("root@localhost", "", "root@localhost"),
        ("ada..l.@example.com", "", "ada..l.@example.com"),
    ],
)
def test_address_is_read(text: str, name: str, address: str) -> None:
    parsed = parse_address(text)

    assert (parsed.display_name, parsed.addr_spec) == (name, address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@@example.com",
        "ada@example.com, eve@example.com",
        "ada@example.com eve@example.com",
        "ada@example.com;eve@example.com",
        "alice@example.org]<bob@example.org>",
        "<ada@example.com><eve@example.com>",
        '"ada@example.com" eve@example.com',
        "ada@exam ple.com",
        "ada@-example.com",
        "ada@example..com",
        "ada@[127.0.0.1]",
        "zoë@example.com",
        "a" * 65 + "@example.com",
        "ada@" + "a" * 64 + ".com",
        "ada@" + "a." * 200 + "com",
        "ada@example.com\r\nRCPT TO:<eve@example.com>",
        "ada@example.com\n",
        "Ada\r\nBcc: eve@example.com <ada@example.com>",
        "ada\u2028@example.com",
        "ada(comment)@example.com",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(InvalidMail):
        parse_address(text)


@given(st.text(max_size=40))
def test_accepted_address_is_one_plain_line(text: str) -> None:
    try:
        address = parse_address(f"{text}@example.com").addr_spec
    except InvalidMail:
        return
    assert address.isascii() and address.isprintable()
    assert address.count("@") == 1 and not set(address) & set(" ,;<>()[]\\")
