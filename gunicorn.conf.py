"""How gunicorn serves the application. Every number can be changed by a variable or an option."""

import os

import structlog

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
# One process while the worker is embedded in it; with a server database the web scales by itself.
workers = int(os.environ.get("WEB_CONCURRENCY") or (2 if os.environ.get("DATABASE_URL") else 1))
threads = int(os.environ.get("WEB_THREADS") or 16)
# Half of them may wait with long polls and streams: the others answer, probes first of all.
os.environ.setdefault("UNDERSTUDY_WAITING_REQUESTS", str(threads // 2))
# Platforms send SIGTERM and kill after 30 s: what runs gets 25 of them.
graceful_timeout = 25
# An embedded worker interrupts and hands back what does not end within 19 s, and is done before gunicorn kills.
os.environ.setdefault("QUEUE_SHUTDOWN_TIMEOUT", "24000")
timeout = 60
keepalive = 5
# The workers' heartbeat files in memory: a container's disk may stall.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
# No socket under $HOME: file systems may be read-only.
control_socket_disable = True

# The master's own lines as JSON too; in the workers app.logs takes over, and logs the requests.
level = (os.environ.get("LOG_LEVEL") or "info").upper()
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "foreign_pre_chain": [
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"level": level, "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {"level": level, "propagate": True},
        "gunicorn.access": {"level": "WARNING", "propagate": True},
        "alembic": {"level": "WARNING"},
    },
}


def post_worker_init(worker):
    """Start the embedded worker, where one is wanted, before the first request comes."""
    from app.extensions import jobs  # noqa: PLC0415 - the master must not load the application

    with worker.wsgi.app_context():
        jobs.start_worker()


def worker_exit(server, worker):
    """Let the embedded worker end its jobs."""
    if getattr(worker, "wsgi", None) is None:
        return  # the application could not be loaded, and has said why

    from app.extensions import jobs  # noqa: PLC0415

    with worker.wsgi.app_context():
        jobs.stop_worker()
