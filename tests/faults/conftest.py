"""Faults made for real. Target and daemon processes are those of tests/app."""

from __future__ import annotations

from tests.app.conftest import target

__all__ = ["target"]
