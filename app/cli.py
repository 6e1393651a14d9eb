"""Commands of the service: ``flask tokens …`` and ``flask demo``."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click
import sqlalchemy as sa
from flask import Flask
from flask.cli import AppGroup, with_appcontext

from app.actors.examples import send_samples
from app.extensions import db
from app.models.api_token import ApiToken
from app.models.base import utcnow
from app.models.tenant import Tenant
from app.models.user import User
from app.policies import SCOPES
from app.services import demo, schema, tokens

#: Characters that the name of a token may have, as its column does.
LONGEST_NAME = 100


class MigratedGroup(AppGroup):
    """Commands that need the tables: without them one line says so, instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Check the database, then run the command."""
        _need_tables()
        return super().invoke(ctx)


tokens_group = MigratedGroup("tokens", help="API tokens.")


def init_app(app: Flask) -> None:
    """Add the commands to ``flask``."""
    app.cli.add_command(tokens_group)
    app.cli.add_command(demo_command)


def _checked_name(ctx: click.Context, param: click.Parameter, name: str) -> str:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise click.BadParameter(f"it takes a printable text of {LONGEST_NAME} characters at the most.")
    return name


@tokens_group.command("create")
@click.option("--tenant", required=True, help="Slug or id of the organisation.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What it may do; can be given several times.",
)
@click.option("--user", "email", help="Address of the person that it acts for.")
@click.option("--name", default="cli", show_default=True, callback=_checked_name, help="What it is for.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it expires; default never.")
def create_token(tenant: str, scopes: tuple[str, ...], email: str | None, name: str, days: int | None) -> None:
    """Make a token and show its secret, this once."""
    owner = _find_tenant(tenant)
    expires_at = utcnow() + dt.timedelta(days=days) if days else None
    token, secret = tokens.create(
        tenant_id=owner.id,
        user_id=_find_user(owner, email).id if email else None,
        name=name,
        scopes=scopes,
        expires_at=expires_at,
    )
    db.session.commit()
    click.echo(secret)
    click.echo(
        f"Token {token.id} of {owner.slug} may {', '.join(token.scopes)}. It is shown this once.",
        err=True,
    )


@tokens_group.command("list")
@click.option("--tenant", required=True, help="Slug or id of the organisation.")
def list_tokens(tenant: str) -> None:
    """Show the tokens of an organisation, without their secrets."""
    for token in tokens.all_of(_find_tenant(tenant).id):
        used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never"
        click.echo(
            f"{token.id}  {token.prefix}…  {_state(token):<8} {','.join(token.scopes):<28} used {used:<17} {token.name}"
        )


@tokens_group.command("revoke")
@click.argument("token_id")
def revoke_token(token_id: str) -> None:
    """End a token, by its id."""
    token = db.session.get(ApiToken, token_id)
    if token is None:
        raise click.ClickException(f"no token has the id {token_id!r}; see: flask tokens list")
    tokens.revoke(token)
    db.session.commit()
    click.echo(f"Token {token.id} is revoked.")


@click.command("demo")
@with_appcontext
def demo_command() -> None:
    """Load the demo organisations, send them jobs to look at, and show a token for each role."""
    _need_tables()
    added = demo.load()
    sent = send_samples(demo.tenant_id()) if added else 0
    click.echo(f"{added} demo organisation(s) added, {sent} job(s) sent.", err=True)
    for role, secret in demo.renew_tokens().items():
        click.echo(f"{role:<9} {secret}")
    click.echo("Tokens of an earlier `flask demo`, if there was one, have ended.", err=True)
    click.echo(f"The other organisation's: flask tokens create --tenant {demo.OTHER_TENANT} --scope read", err=True)


@with_appcontext
def _need_tables() -> None:
    if problem := schema.problem():
        raise click.ClickException(problem)


def _state(token: ApiToken) -> str:
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= utcnow() else "active"


def _find_tenant(name: str) -> Tenant:
    statement = sa.select(Tenant).where(sa.or_(Tenant.slug == name, Tenant.id == name))
    tenant = db.session.scalar(statement)
    if tenant is None:
        known = db.session.scalars(sa.select(Tenant.slug).order_by(Tenant.slug).limit(10)).all()
        raise click.ClickException(f"no organisation is called {name!r}; there are: {', '.join(known) or 'none yet'}")
    return tenant


def _find_user(tenant: Tenant, email: str) -> User:
    user = db.session.scalar(sa.select(User).where(User.tenant_id == tenant.id, User.email == email.lower()))
    if user is None:
        raise click.ClickException(f"{tenant.slug} has no member with the address {email!r}")
    return user
