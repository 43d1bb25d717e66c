"""Celery's settings for tools that look for this file, such as ``celery --config celeryconfig inspect active_queues``.

They are made from the ARAGORA_CP_ variables; the control plane's own processes ask `celery_settings` directly.
"""

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.engine.app import celery_settings

globals().update(celery_settings(ControlPlaneConfig.from_env()))
