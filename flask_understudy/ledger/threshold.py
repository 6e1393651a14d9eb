"""What operators let the rules of alerts allow, over what the settings say."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class AlertThreshold(Base):
    """What one rule allows. A rule without a row allows what the settings say.

    Attributes:
        rule: The rule's name: `depth`, `failure-rate`, …
        threshold: The figure above which it is broken.
        set_by: By whom it was set, as `tenant/subject`, or the subject alone.
        set_at: When.
    """

    __tablename__ = "understudy_alert_thresholds"

    rule: Mapped[str] = mapped_column(Text, primary_key=True)
    threshold: Mapped[float]
    set_by: Mapped[str] = mapped_column(Text)
    set_at: Mapped[datetime] = mapped_column(Moment)
