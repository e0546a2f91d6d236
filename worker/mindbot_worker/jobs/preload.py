"""Side-effect module, imported first by the server that job processes are forked from: signals, and warm imports.

It ignores the worker's signals, so that every job process is safe from its first moment. Under `spawn` there is no
such server, and `jobs.entrypoint.Setup` does the same a little later. Then it imports what libraries put off until the
first call, so that all job processes share it; it makes the TLS contexts, which read the bundle of CAs for 20 ms of CPU
each; and it loads LiveKit's native library.

Read off a call's sys.modules before and after: 47 modules, 0.25 s of a blocked event loop while the caller waits for
the greeting, over 3 s where several calls begin at once on 2 cores. LiveKit's own preload does not reach them.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import platform
import sys

from mindbot_worker import agent_path
from mindbot_worker.jobs.process_setup import ignore_worker_signals
from mindbot_worker.livekit_adapter import internals
from mindbot_worker.logging.nonblocking_output import guard

PUT_OFF = (
    "anyio._backends._asyncio",
    "anyio.streams.memory",
    "anyio.streams.stapled",
    "av.subtitles.stream",
    "livekit.agents.llm.async_toolset",
    "livekit.agents.voice.report",
    "numpy.fft",
    "openai.lib._chat_completion_resources",
    "openai.lib._parsing._audio",
    "openai.lib.streaming.chat",
    "openai.resources.audio.audio",
    "openai.resources.chat.completions",
    "openai.resources.models",
    "openai.types.chat.completions",
)

# In the forkserver only: it has no multiprocessing parent, and it is no program of ours or of the user.
_IN_FORKSERVER = multiprocessing.parent_process() is None and sys.argv[:1] == ["-c"]
if _IN_FORKSERVER:
    ignore_worker_signals()
    guard()

platform.platform()  # both remembered by the standard library; openai tells them to its server with the first request,
platform.processor()  # and finding the second out starts a program

for _name in PUT_OFF:
    with contextlib.suppress(ImportError):  # another version of a library, or an agent without it
        importlib.import_module(_name)

with contextlib.suppress(Exception):  # the first call says what is wrong with it
    internals.share_native_library()

with contextlib.suppress(Exception):  # an agent without them; and whoever needs one is told why there is none
    internals.share_tls()
    from mindbot_worker.providers import openai_client

    openai_client.tls_context()

with contextlib.suppress(Exception):  # models that pydantic completes at their first use: 12 ms of each session's start
    from livekit.agents import llm, voice
    from openai.pagination import AsyncPage
    from openai.types import Model

    AsyncPage[Model]
    _said = llm.ChatContext.empty()
    _message = _said.add_message(role="user", content="hello")
    llm.ChatContext.from_dict(_said.to_dict())
    llm.AgentConfigUpdate(instructions="be kind", tools_added=[], tools_removed=[])
    voice.AgentStateChangedEvent(old_state="initializing", new_state="listening")
    voice.ConversationItemAddedEvent(item=_message)

if _IN_FORKSERVER:
    agent_path.enter(os.environ.get(agent_path.FOLDER, ""))
