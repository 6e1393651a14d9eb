"""Texts on a page of PDF: the fonts, what they can show, and where a line ends.

DejaVu Sans is taken where the system has it (`fonts-dejavu-core` on Debian): Latin, Greek, Cyrillic,
Armenian, Georgian and more. Else it is Vera, which comes with reportlab: Latin only. The letters that
are used go into the file. A letter that the font lacks loses its accent or becomes a question mark; Arabic, Hebrew and
the scripts of India are not shaped or turned around.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from itertools import accumulate

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from .values import Value, in_utc, plain

_PAIRS = (("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"), ("Vera.ttf", "VeraBd.ttf"))
_LINE_ENDS = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_MISSING = "?"
_CUT = "…"


class Letters(dict[int, str]):
    """What is written for a code point; for `str.translate`."""

    def __init__(self, font: TTFont) -> None:
        super().__init__()
        self._glyphs = font.face.charToGlyph

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        if category in {"Cc", "Zs"}:
            found = " "
        elif category == "Cf":
            found = ""  # joiners, and what turns the direction of others around
        else:
            letters = (chr(code), *unicodedata.normalize("NFKD", chr(code)))
            found = next((letter for letter in letters if ord(letter) in self._glyphs), _MISSING)
        self[code] = found
        return found


class Widths(dict[str, float]):
    """The width of a character, of a font of size 1."""

    def __init__(self, font: TTFont) -> None:
        super().__init__()
        self._font = font

    def __missing__(self, character: str) -> float:
        self[character] = float(self._font.stringWidth(character, 1))
        return self[character]


class Font:
    """One of the fonts, to measure and break texts with."""

    def __init__(self, font: TTFont) -> None:
        pdfmetrics.registerFont(font)
        self.name: str = font.fontName
        self._letters = Letters(font)
        self._widths = Widths(font)

    def lines(self, text: str) -> list[str]:
        """Return the lines of `text`, each of characters that can be shown."""
        text = unicodedata.normalize("NFC", text)
        return [line.translate(self._letters) for line in _LINE_ENDS.split(text)]

    def line(self, text: str) -> str:
        """Return `text` in one line, of characters that can be shown."""
        return " ".join(self.lines(text))

    def width(self, text: str, size: float) -> float:
        """Return the width in points of a text that came from `lines`."""
        return sum(map(self._widths.__getitem__, text)) * size

    def cut(self, text: str, width: float, size: float) -> str:
        """Return as much of a text that came from `lines` as there is room for."""
        if self.width(text, size) <= width:
            return text
        return text[: self._fitting(text, width - self.width(_CUT, size), size)].rstrip() + _CUT

    def wrapped(self, text: str, width: float, size: float, most: int) -> list[str]:
        """Return `text` in at most `most` lines, none wider than `width`; an ellipsis where the rest is left out."""
        # No line holds more characters than this: what is beyond them need not be looked at.
        longest = most * (int(width / size * 5) + 1)
        found: list[str] = []
        for line in self._wrapped(text[:longest], width, size):
            if len(found) == most:
                break
            found.append(line)
        else:
            if len(text) <= longest:
                return found
        found[-1] = self.cut(found[-1] + " " * 400, width, size)
        return found

    def _wrapped(self, text: str, width: float, size: float) -> Iterator[str]:
        for line in self.lines(text):
            rest = line.rstrip()
            while self.width(rest, size) > width:
                end = self._fitting(rest, width, size)
                blank = end if rest[end : end + 1] == " " else rest.rfind(" ", 0, end)
                if rest[:blank].strip() and blank > 0:
                    end = blank
                yield rest[:end].rstrip()
                rest = rest[end:].lstrip()
            yield rest

    def _fitting(self, text: str, width: float, size: float) -> int:
        """Return how many characters fit, one at the least."""
        ends = accumulate(map(self._widths.__getitem__, text))
        return max(1, sum(1 for _ in _while_below(ends, width / size)))


def shown(value: Value) -> str:
    """Return `value` as people read it: times to the second, in UTC."""
    match value:
        case bool():
            return "yes" if value else "no"
        case dt.datetime():
            return in_utc(value).isoformat(" ", "seconds")
    return plain(value)


def grouped(value: Value) -> str:
    """Return a number with commas between thousands, and two digits after the point, or three that count below 1."""
    match value:
        case bool():
            return shown(value)
        case int():
            return f"{value:,}"
        case float() | Decimal():
            number = float(value) + 0.0  # minus zero is zero
            if 0 < abs(number) < 1:
                return f"{number:.3g}"
            return f"{number:,.2f}".removesuffix(".00") if abs(number) < 1e15 else f"{number:.6g}"
    return shown(value)


def _while_below(sums: Iterator[float], limit: float) -> Iterator[float]:
    for each in sums:
        if each > limit:
            return
        yield each


def _fonts() -> tuple[Font, Font]:
    for regular, bold in _PAIRS:
        try:
            return Font(TTFont("UnderstudySans", regular)), Font(TTFont("UnderstudySans-Bold", bold))
        except TTFError:
            continue
    raise TTFError("reportlab came without its fonts")


REGULAR, BOLD = _fonts()
