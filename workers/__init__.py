"""The agents of this deployment, and examples to copy: `code`, `search` and `debate`.

Those three modules hold an agent, its schemas and thin handlers. All other modules here are plain logic that
knows nothing of the control plane.
"""
