"""A real vLLM for all tests of this folder; they are skipped unless `IRR_VLLM_PYTHON` says where one is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from irr.lm.server_client import ServedModel
from tests.vllm.live import VARIABLE, LiveServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get(VARIABLE):
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"{VARIABLE} names no Python that has vLLM"))


@pytest.fixture(scope="session")
def live_server() -> Iterator[LiveServer]:
    server = LiveServer(os.environ[VARIABLE])
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def served(live_server: LiveServer) -> ServedModel:
    """The small model as vLLM serves it."""
    return ServedModel(live_server.server.name, live_server.server.api_base, retries=2)
