"""Events: facts with a name and typed fields, published once and heard by as many actors as want to.

- `event`: what an event is, and reading one back;
- `subscriber`: an actor that hears one;
- `publishing`: the row in the log and the jobs, in one transaction;
- `functions`: Inngest's way to declare a subscriber;
- `verbs`: what an `Understudy` can do with all of them.
"""

from .event import Event, declared, named, payload_of, read, schema_of
from .publishing import Publication, publish, replay
from .subscriber import Subscriber, SubscriberDecorator, subscribers_of
from .verbs import EventVerbs

__all__ = [
    "Event",
    "EventVerbs",
    "Publication",
    "Subscriber",
    "SubscriberDecorator",
    "declared",
    "named",
    "payload_of",
    "publish",
    "read",
    "replay",
    "schema_of",
    "subscribers_of",
]
