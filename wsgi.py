"""The application for gunicorn (``gunicorn wsgi:app``), the ``flask`` command and the workers."""

from app import create_app

app = create_app()
