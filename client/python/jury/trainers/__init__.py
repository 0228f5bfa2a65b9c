"""Adapters for trainers. Each module is named after its trainer and imports nothing of it.

``docs/trainers.md`` of the repository has an example for each, and says what each does with what is unscored.
"""

from .rows import Unscored

__all__ = ["Unscored"]
