from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.services.email import TEMPLATES, absolute_url, check_template, write
from flask_understudy.contrib.mail import InvalidMail

FIELDS: dict[str, dict[str, Any]] = {
    "digest": {
        "name": "Ada",
        "organization": "Acorn Bakery",
        "period": "daily",
        "figures": {"New pages": 12},
        "link": "/link",
    },
    "export-failed": {"title": "Stations", "organization": "Acorn", "error": "The disk is full."},
    "export-ready": {"title": "Stations", "organization": "Acorn", "link": "/link"},
    "invitation": {"name": "Ada", "organization": "Acorn Bakery", "link": "/link"},
    "leave-approved": {"name": "Ada", "starts_on": "2026-12-24", "ends_on": "2027-01-02"},
    "payroll-completed": {"name": "Ada", "period": "May", "employees": 35, "total": "70,000.00"},
    "payroll-failed": {"name": "Ada", "period": "May", "error": "The disk is full."},
    "payslip-ready": {"name": "Ada", "period": "May", "link": "/link"},
    "report-failed": {"title": "Audits", "organization": "Acorn", "error": "The disk is full."},
    "report-ready": {"title": "Audits", "organization": "Acorn", "link": "/link"},
    "welcome": {"name": "Ada"},
    "verification": {"name": "Ada", "token": "to/k+en="},
    "password-reset": {"code": "123456", "organization": "Acorn"},
    "notification": {"name": "Ada", "title": "Title", "message": "Message", "link": "/link"},
}


@pytest.fixture
def context(make_app: Any, sqlite_url: str) -> Any:
    app: Flask = make_app(sqlite_url, APP_URL="https://app.example.com/base/")
    with app.app_context():
        yield app


def test_every_mail_has_its_three_templates() -> None:
    folder = Path("app/templates/email")

    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(TEMPLATES) == set(FIELDS)
    for name in TEMPLATES:
        files = {path.name for path in (folder / name).iterdir()}
        assert files == {"subject.txt", "body.txt", "body.html"}


@pytest.mark.requirement("V10")
@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_mail_is_written_with_all_of_its_fields(context: Flask, name: str) -> None:
    mail = write(name, FIELDS[name])

    assert mail.subject and "\n" not in mail.subject
    assert mail.html.startswith("<!doctype html>")
    for part in (mail.text, mail.html):
        assert "{{" not in part and "{%" not in part
        for field, value in FIELDS[name].items():
            if field == "figures":
                assert all(label in part and str(number) in part for label, number in value.items())
            elif field not in {"link", "token", "title"}:
                assert str(value) in part


@pytest.mark.requirement("A37", "A47")
@pytest.mark.parametrize("name", ["export-failed", "export-ready", "password-reset", "report-failed", "report-ready"])
def test_mail_names_the_organisation_where_it_is_told(context: Flask, name: str) -> None:
    told, untold = FIELDS[name], {field: value for field, value in FIELDS[name].items() if field != "organization"}

    assert write(name, told).subject == f"{write(name, untold).subject} (Acorn)"
    if name.endswith("ready"):
        assert "Whoever ordered it can fetch it" in " ".join(write(name, told).text.split())


@pytest.mark.requirement("A36", "H11")
def test_verification_links_to_the_app_with_the_token_quoted(context: Flask) -> None:
    mail = write("verification", FIELDS["verification"])

    link = "https://app.example.com/base/verify-email?token=to/k%2Ben%3D"
    assert link in mail.text
    assert f'href="{link}"' in mail.html


@pytest.mark.requirement("A38", "H11")
@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("/wiki/1?a=b#c", "https://app.example.com/base/wiki/1?a=b#c"),
        ("wiki/1", "https://app.example.com/base/wiki/1"),
        ("", "https://app.example.com/base/"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
    ],
)
def test_links_are_made_absolute(context: Flask, link: str, address: str) -> None:
    assert absolute_url(link) == address


@pytest.mark.requirement("H11")
def test_nextauth_url_stands_in_for_app_url(make_app: Any, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTAUTH_URL", "https://next.example")
    app: Flask = make_app(sqlite_url)
    with app.app_context():
        assert absolute_url("/x") == "https://next.example/x"


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://example.com",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:///no-host",
        "/a\nb",
        "/a b",
        "http://[bad",
    ],
)
def test_other_links_are_refused(context: Flask, link: str) -> None:
    with pytest.raises(InvalidMail, match="no link"):
        absolute_url(link)


NASTY = "<script>alert(1)</script>{{7*7}}{% for %}${7*7}%(x)s{0.__class__}"


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_what_people_write_is_shown_and_never_run(context: Flask, name: str) -> None:
    given = {"link": "/x", "figures": {NASTY: NASTY}}
    data = {field: given.get(field, NASTY) if name != "verification" else NASTY for field in FIELDS[name]}

    mail = write(name, data)

    assert "<script" not in mail.html
    assert "49" not in mail.html + mail.text + mail.subject
    if name != "verification":
        assert "{{7*7}}{% for %}" in mail.html


@pytest.mark.parametrize("field", ["name", "message"])
def test_html_of_a_notification_is_escaped(context: Flask, field: str) -> None:
    mail = write("notification", FIELDS["notification"] | {field: '"><img src=x onerror=y>'})

    assert "<img" not in mail.html
    assert '"><img src=x onerror=y>' in mail.text


@pytest.mark.requirement("A08")
def test_unknown_mail_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidMail, match=r"'welcom' is no mail; there are .*verification.*'welcome'\?"):
        check_template("welcom", {"name": "Ada"})


@pytest.mark.parametrize("name", ["../base", "welcome/../../x", "", "base.html"])
def test_name_of_a_mail_is_no_path(name: str) -> None:
    with pytest.raises(InvalidMail):
        check_template(name, {})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "'name' is missing"),
        ({"name": "A", "x": "y"}, "'x' is unknown: .* takes name"),
        ({"name": {"first": "A"}}, "'name' is .*; it takes a text or a number"),
        ({"name": None}, "'name' is None"),
        ("Ada", "a mapping of names, and 'Ada' was given"),
    ],
)
def test_wrong_fields_are_named(data: Any, message: str) -> None:
    with pytest.raises(InvalidMail, match=message):
        check_template("welcome", data)
