"""Background jobs for Flask with Dramatiq that survive their broker."""

from .context import Principal, acting_as, current_job
from .extension import Understudy
from .limit import Limit

__version__ = "0.1.0"

__all__ = ["Limit", "Principal", "Understudy", "acting_as", "current_job"]
