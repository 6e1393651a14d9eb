"""Background jobs for Flask with Dramatiq that survive their broker."""

from .context import Principal, acting_as, current_job
from .errors import Snooze
from .events import Event
from .extension import Understudy
from .limit import Limit
from .operations.batches import Batch
from .steps import step

__version__ = "0.1.0"

__all__ = ["Batch", "Event", "Limit", "Principal", "Snooze", "Understudy", "acting_as", "current_job", "step"]
