"""Kills the agent at random moments of a stage."""

import asyncio
import random
from typing import Any

import pytest

from pipecd.model.stage import Work
from pipecd.platforms.kubernetes.cluster.api import ApiClient


class Killer:
    """Kills the agent at random: before or after a request takes effect, or after a stage's call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int, times: int = 8) -> None:
        self._random, self._remaining, self.kills = random.Random(seed), times, 0
        self._countdown = 0
        original = ApiClient.send

        async def send(client: ApiClient, *arguments: Any, **options: Any) -> Any:
            self._countdown -= 1
            if self._countdown == 0 and self._random.random() < 0.5:
                raise asyncio.CancelledError
            answer = await original(client, *arguments, **options)
            if self._countdown == 0:
                raise asyncio.CancelledError
            return answer

        monkeypatch.setattr(ApiClient, "send", send)

    async def __call__(self, stage: Any, work: Work[Any]) -> Any:
        if not self._remaining:
            return await stage(work)
        self._remaining -= 1
        if self._random.random() < 0.2:
            await stage(work)
            self.kills += 1
            return None
        self._countdown = self._random.randint(1, 12)
        try:
            return await stage(work)
        except asyncio.CancelledError:
            self.kills += 1
            return None
        finally:
            self._countdown = 0
