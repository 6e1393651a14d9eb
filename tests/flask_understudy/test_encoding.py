"""JSON as the ledger stores it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_understudy.encoding import encode, printable
from flask_understudy.errors import InvalidJob

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_a_value_is_stored_as_it_is_or_refused(value: object) -> None:
    texts = json.dumps(value, ensure_ascii=False)
    unstorable = "\\u0000" in json.dumps(value).replace("\\\\", "") or any("\ud800" <= c <= "\udfff" for c in texts)
    try:
        encoded = encode(value, "It")
    except InvalidJob:
        assert unstorable
    else:
        assert not unstorable
        assert json.loads(encoded) == value


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert json.loads(encode("\\u0000", "It")) == "\\u0000"
    with pytest.raises(InvalidJob, match="It holds the character NUL"):
        encode("\\\x00", "It")


@given(st.text(), st.integers(min_value=0, max_value=50))
def test_printable_text_can_be_stored_anywhere(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert "\x00" not in shown
    shown.encode()


def test_printable_text_is_cut_and_keeps_what_it_can() -> None:
    assert printable("a\x00b\ud800c" + "x" * 100, 5) == "a\\x00b\\ud800c"
