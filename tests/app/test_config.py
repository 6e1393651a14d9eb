import stat
from pathlib import Path

import pytest

from app.config import ConfigurationError, database_url, read


@pytest.mark.requirement("H17")
def test_error_names_the_setting_the_value_and_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({"SMTP_PORT": "smtp", "APP_URL": "example.com"}, tmp_path)

    assert "SMTP_PORT: got 'smtp', expected a whole number from 1 to 65535" in str(caught.value)
    assert "APP_URL: got 'example.com', expected an address such as" in str(caught.value)


def test_error_does_not_show_a_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({"DATABASE_URL": "mysql://root:hunter2@db/x"}, tmp_path)

    assert "DATABASE_URL: got (not shown), expected postgresql://" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.requirement("H17")
def test_code_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    def level(**sources: dict[str, str]) -> str:
        return read(sources.get("environ", {}), tmp_path, sources.get("code"), sources.get("file"))["LOG_LEVEL"]

    code, environ, file = ({"LOG_LEVEL": value} for value in ("error", "warning", "debug"))

    assert level(code=code, environ=environ, file=file) == "error"
    assert level(environ=environ, file=file) == "warning"
    assert level(file=file) == "debug"
    assert level() == "info"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgres://u:p@h:5432/d", "postgresql+psycopg://u:p@h:5432/d"),
        ("postgresql://h/d?sslmode=require", "postgresql+psycopg://h/d?sslmode=require"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    ],
)
def test_database_urls_of_the_platforms_are_understood(given: str, expected: str) -> None:
    assert database_url(given) == expected


def test_redis_url_with_tls_is_passed_on_as_it_is(tmp_path: Path) -> None:
    url = "rediss://:secret@host:6380/0?ssl_cert_reqs=none"

    assert read({"REDIS_URL": url}, tmp_path)["REDIS_URL"] == url


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("rediss://:p@h:6380", "rediss://:p@h:6380?ssl_cert_reqs=none"),
        ("rediss://:p@h:6380?db=1", "rediss://:p@h:6380?db=1&ssl_cert_reqs=none"),
        ("rediss://:p@h:6380?ssl_cert_reqs=required", None),
        ("redis://h:6379", None),
    ],
)
def test_redis_of_heroku_is_accepted_with_its_self_signed_certificate(
    tmp_path: Path, url: str, transport: str | None
) -> None:
    on_heroku = read({"REDIS_URL": url, "DYNO": "web.1"}, tmp_path)
    elsewhere = read({"REDIS_URL": url}, tmp_path)

    assert on_heroku.get("UNDERSTUDY_TRANSPORT") == transport
    assert "UNDERSTUDY_TRANSPORT" not in elsewhere


def test_nothing_set_means_a_private_sqlite_file(tmp_path: Path) -> None:
    values = read({}, tmp_path / "instance")

    file = tmp_path / "instance" / "app.db"
    assert values["SQLALCHEMY_DATABASE_URI"] == f"sqlite:///{file}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    assert read({"REDIS_URL": "", "SMTP_PORT": " "}, tmp_path)["SMTP_PORT"] == 587


def test_secret_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = read({}, tmp_path)["SECRET_KEY"]
    second = read({}, tmp_path)["SECRET_KEY"]

    assert first == second
    assert len(first) == 64
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_postgresql_needs_a_secret_key_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY: nothing set.*token_hex"):
        read({"DATABASE_URL": "postgresql://h/d"}, tmp_path)


@pytest.mark.requirement("H11")
@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"NEXTAUTH_URL": "https://old.example/"}, "https://old.example"),
        (
            {"APP_URL": "https://new.example", "NEXTAUTH_URL": "https://old.example"},
            "https://new.example",
        ),
    ],
)
def test_links_start_with_app_url_or_nextauth_url(tmp_path: Path, environ: dict[str, str], expected: str) -> None:
    assert read(environ, tmp_path)["APP_URL"] == expected


@pytest.mark.requirement("H01")
def test_own_name_of_the_signing_key_goes_before_the_others(tmp_path: Path) -> None:
    environ = {"INNGEST_SIGNING_KEY": "i" * 16, "JOBS_SIGNING_KEY": "j" * 16, "UNDERSTUDY_SIGNING_KEY": "u" * 16}

    found = []
    for name in reversed(list(environ)):
        found.append(read(environ, tmp_path)["UNDERSTUDY_SIGNING_KEY"])
        del environ[name]

    assert found == ["u" * 16, "j" * 16, "i" * 16]
    with pytest.raises(ConfigurationError, match="UNDERSTUDY_SIGNING_KEY: got .not shown., expected at least 16"):
        read({"JOBS_SIGNING_KEY": "short"}, tmp_path)


@pytest.mark.requirement("H10")
def test_smtp_settings_reach_the_mail_extension(tmp_path: Path) -> None:
    values = read(
        {
            "SMTP_HOST": "mail.example",
            "SMTP_USER": "me",
            "SMTP_PASS": "pass",
            "SMTP_FROM": '"Aster, Ltd" <no-reply@aster.example>',
        },
        tmp_path,
    )

    assert (values["MAIL_SERVER"], values["MAIL_PORT"]) == ("mail.example", 587)
    assert (values["MAIL_USE_TLS"], values["MAIL_USE_SSL"]) == (True, False)
    assert (values["MAIL_USERNAME"], values["MAIL_PASSWORD"]) == ("me", "pass")
    assert values["MAIL_DEFAULT_SENDER"] == ("Aster, Ltd", "no-reply@aster.example")


def test_scheduler_is_on_in_this_service_unless_switched_off(tmp_path: Path) -> None:
    assert read({}, tmp_path)["SCHEDULER_ENABLED"] is True
    assert read({"SCHEDULER_ENABLED": "false"}, tmp_path)["SCHEDULER_ENABLED"] is False


@pytest.mark.requirement("H17")
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("REDIS_URL", "redis://127.0.0.1:notaport/0", "redis://host:6379/0"),
        ("REDIS_URL", "redis://[bad", "redis://host:6379/0"),
        ("REDIS_URL", "redis://127.0.0.1/abc", "redis://host:6379/0"),
        ("APP_URL", "https://host:notaport", "an address such as https://app.example.com"),
        ("APP_URL", "http://[bad", "an address such as https://app.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:notaport/x", "postgresql://user:password@host:5432/name"),
    ],
)
def test_address_that_cannot_be_read_is_named_with_a_valid_form(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: got .*, expected {expected}") as caught:
        read({name: value, "SECRET_KEY": "x" * 20}, tmp_path)

    assert "hunter2" not in str(caught.value)
