"""A process with one OpenAI client, as a call's job process has it; its requests are made all at once.

    asker.py BASE_URL SEATS REQUESTS WORDS     answers are about so many words long

It says "asking" once, and "answered" as each answer begins.
"""

from __future__ import annotations

import asyncio
import sys

from mindbot_worker.providers.openai_client import open_client
from mindbot_worker.providers.usage_meter import UsageMeter as Meter


async def main(url: str, seats: str, requests: str, words: str) -> None:
    client = open_client(api_key="a-key", base_url=url, concurrency=int(seats), meter=Meter())

    async def ask() -> None:
        said = [{"role": "user", "content": "word " * int(words)}]
        stream = await client.chat.completions.create(model="gpt", messages=said, stream=True, timeout=600)  # type: ignore
        first = True
        async with stream:
            async for chunk in stream:
                if first and chunk.choices[0].delta.content:
                    print("answered", flush=True)
                    first = False

    sys.stdin.readline()
    print("asking", flush=True)
    await asyncio.gather(*(ask() for _ in range(int(requests))))
    await client.close()


asyncio.run(main(*sys.argv[1:]))
