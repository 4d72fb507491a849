"""The methods, one readable file each; a new one is a file and a line in `METHODS`."""

from __future__ import annotations

from reid.methods.buc import Buc
from reid.methods.protocol import Method

__all__ = ["METHODS"]

METHODS: dict[str, type[Method]] = {
    "buc": Buc,
}
