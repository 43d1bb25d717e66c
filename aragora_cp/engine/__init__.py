"""Celery and kombu, and nobody else imports them: the app, tickets, the result backend, the task, the worker's
steps."""
