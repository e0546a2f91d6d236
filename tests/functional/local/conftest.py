"""The stand-ins as a process of their own, shared by the tests of a module, and the plugins as agents use them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from live.livekit import Local, running_local


@pytest.fixture(scope="module")
def shared() -> Iterator[Local]:
    with running_local() as stack:
        yield stack


@pytest.fixture
def standins(shared: Local) -> Local:
    """With nothing seen yet and no fault waiting."""
    shared.forget()
    return shared


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened
