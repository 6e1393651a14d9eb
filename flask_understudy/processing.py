"""Running one claimed job in this very thread, exactly as a worker thread of Dramatiq would."""

from __future__ import annotations

from queue import PriorityQueue
from typing import Any

from dramatiq.worker import WorkerThread

from .claims import ClaimedMessage


class _Post:
    """Stands where a worker thread expects the consumer of the message's queue."""

    def post_process_message(self, message: ClaimedMessage) -> None:
        broker = message.worker.broker
        verb = "nack" if message.failed else "ack"
        broker.emit_before(verb, message)
        message.finish()
        broker.emit_after(verb, message)


def process(message: ClaimedMessage) -> None:
    """Run a claimed job through all middleware and hand its end to the writer; what it raises is recorded."""
    queue: PriorityQueue[Any] = PriorityQueue()
    queue.put(0)
    posts: Any = {message.queue_name: _Post()}
    thread = WorkerThread(broker=message.worker.broker, consumers=posts, work_queue=queue, worker_timeout=1000)
    thread.process_message(message)
