"""What every order of a file is held against, before anything is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel, ValidationError

from app.extensions import db
from app.models.api_token import ApiToken
from app.models.tenant import Tenant
from app.models.user import User
from app.services import accounts
from flask_understudy.contrib.api import Problem
from flask_understudy.contrib.exports import Format, UnsupportedExport, format_named
from flask_understudy.contrib.mail import InvalidMail, parse_address

M = TypeVar("M", bound=BaseModel)

_MACHINE = "token:"
#: Characters of what was given that an answer repeats.
_SHOWN = 100
_LONGEST_ADDRESS = 254


def refused(pointer: str, detail: str) -> Problem:
    """Return the 422 that names a field and what is wrong with it."""
    return Problem(422, "The file cannot be made", detail, errors=[{"pointer": pointer, "detail": detail}])


def checked(model: type[M], name: str, filters: Mapping[str, Any]) -> M:
    """Return the filters of what is called ``name``: known ones, of the right kind.

    Raises:
        Problem: 422 naming the filter, and the valid ones where it is unknown.
    """
    if not isinstance(filters, Mapping):
        raise refused("/filters", f"{filters!r:.100} are no filters; they are names with values.")
    valid = sorted(str(field.alias) for field in model.model_fields.values())
    known = {*valid, *model.model_fields}
    for given in map(str, filters):
        if given not in known:
            detail = f"{given[:_SHOWN]!r} is no filter of {name}; there are {', '.join(valid)}"
            raise refused(f"/filters/{given[:_SHOWN]}", detail)
    try:
        return model.model_validate(dict(filters))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise refused("/".join(("/filters", *map(str, first["loc"]))), first["msg"]) from None


def stored(filters: BaseModel) -> dict[str, Any]:
    """Return filters as the row keeps them, without the absent."""
    return filters.model_dump(mode="json", by_alias=True, exclude_none=True)


def check_one_of(pointer: str, what: str, given: object, valid: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Let pass a name that there is.

    Raises:
        Problem: 422 with the valid names.
    """
    if not isinstance(given, str) or given not in valid:
        raise refused(pointer, f"{given!r:.100} is no {what}; there are {', '.join(valid)}")


def check_format(given: object, valid: Mapping[str, Format]) -> None:
    """Let pass a format that can be written here.

    Raises:
        Problem: 422 with the valid ones, or with the command that installs what it needs.
    """
    try:
        format_named(str(given), valid)
    except UnsupportedExport as problem:
        raise refused("/format", str(problem)) from None


def check_address(address: str | None) -> None:
    """Let pass an address that mail can be sent to, or none.

    Raises:
        Problem: 422.
    """
    if address is None:
        return
    try:
        parse_address(address)
    except InvalidMail as problem:
        raise refused("/notifyEmail", str(problem)) from None
    if len(address) > _LONGEST_ADDRESS:
        raise refused("/notifyEmail", f"An address has {_LONGEST_ADDRESS} characters at most.")


def owner_of(organization_id: str, user_id: str | None) -> str:
    """Return whose file it will be: ``user_id``, or an administrator of the organisation where nobody is named.

    Raises:
        Problem: 422, there is no such organisation, or nobody in it has that id.
    """
    organization = str(organization_id)
    if db.session.scalar(sa.select(Tenant.id).filter_by(id=organization)) is None:
        raise refused("/organizationId", f"There is no organisation {organization[:_SHOWN]!r}.")
    if user_id is None:
        admin = accounts.admin_of(organization)
        if admin is None:
            raise refused("/userId", "The organisation has no administrator; say whose file it is.")
        return admin.id
    machine = str(user_id).removeprefix(_MACHINE)
    model = ApiToken if machine != user_id else User
    if db.session.scalar(sa.select(model.id).filter_by(id=machine, tenant_id=organization)) is None:
        raise refused("/userId", f"Nobody in the organisation has the id {user_id!r:.100}.")
    return user_id
