"""Background jobs for Flask with Dramatiq that survive their broker."""

from .context import Principal, acting_as, current_job
from .errors import Snooze
from .extension import Understudy

__version__ = "0.1.0"

__all__ = ["Principal", "Snooze", "Understudy", "acting_as", "current_job"]
