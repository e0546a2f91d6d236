"""[voice]: how MindBot itself hears, thinks and speaks; agents of your own need none of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mindbot_config.sections.base import OptionalUrl, Section

MIN_SILENCE_OF_MODEL = 0.25
"""Below this LiveKit's turn detector refuses the VAD, and the job dies as it starts:
`_check_vad_silence_requirement` in livekit/agents/voice/audio_recognition.py (1.8.9)."""


class Voice(Section):
    """How MindBot hears, thinks and speaks. Agents of your own (`pool.agent`) do not read this section."""

    stt_model: str = Field(default="nova-3", min_length=1)
    """Deepgram model that turns the caller's speech into text (the plugin's default)."""
    language: str = Field(default="en", min_length=1)
    """Language the caller speaks, as Deepgram writes it: "en", "en-GB", "de", "multi"."""
    smart_format: bool = True
    """Deepgram writes numbers, dates and the like as a reader expects them."""
    punctuate: bool = True
    """Deepgram sets punctuation marks; the turn detector works better with them."""
    interim_results: bool = True
    """Deepgram tells what it has understood so far while the caller still speaks: LiveKit prepares its answer with it,
    notices interruptions sooner, and the log has it at DEBUG."""
    endpointing_ms: int = Field(default=25, ge=0, le=5000)
    """Milliseconds of silence after which Deepgram finishes a transcript (the plugin's default; 0: it does not). More
    keeps sentences together, and delays the answer where `turn_detection` is "stt"."""
    filler_words: bool = True
    """Deepgram writes "uh" and "um" too; the turn detector hears from them that the caller goes on."""
    numerals: bool = False
    """Deepgram writes numbers in digits: "fifteen" becomes "15". `smart_format` does so too in most languages."""
    profanity_filter: bool = False
    """Deepgram replaces bad words by asterisks."""
    keyterms: tuple[str, ...] = ()
    """Names and terms that Deepgram should know: products, places, people. Only its nova-3 models take them; others are
    not told."""
    redact: tuple[Literal["pci", "pii", "phi", "numbers"], ...] = ()
    """What Deepgram leaves out of its transcripts, so that neither the model nor the log gets it: "pci" card data,
    "pii" what identifies a person, "phi" what tells of health (these three in English only), "numbers" any number of
    three or more digits."""
    mip_opt_out: bool = False
    """Deepgram does not use the sound of your calls to improve its models; other rates may apply then."""
    stt_sample_rate: int = Field(default=16000, ge=8000, le=48000, multiple_of=8000)
    """Samples a second that Deepgram gets (the plugin's default), a multiple of 8000. 8000 is enough for calls from the
    telephone network, and half the bandwidth; more than 16000 adds hardly anything to speech."""
    deaf_after: float = Field(default=10, ge=0, le=300)
    """Seconds of the caller's speech without a transcript, after which Deepgram is connected anew; after as many more
    it counts as failed. 0: never."""
    llm_model: str = Field(default="gpt-4.1", min_length=1)
    """OpenAI model that answers (the plugin's default). A smaller one is cheaper, and sooner to begin its answer."""
    tts_model: str = Field(default="gpt-4o-mini-tts", min_length=1)
    """OpenAI model that speaks (the plugin's default)."""
    voice: str = Field(default="fable", min_length=1)
    """OpenAI voice that speaks: alloy, ash, ballad, coral, echo, fable, nova, onyx, sage or shimmer."""
    min_speech_duration: float = Field(default=0.05, ge=0, le=5)
    """Seconds of sound before it counts as speech (Silero's default). Raise it where noise interrupts the agent."""
    min_silence_duration: float = Field(default=0.55, gt=0, le=10)
    """Seconds of silence that end the caller's speech (Silero's default). Lower answers sooner, and interrupts
    callers who pause. LiveKit's turn detector needs at least 0.25."""
    prefix_padding_duration: float = Field(default=0.5, ge=0, le=5)
    """Seconds before the detected beginning of speech that belong to it (Silero's default). Deepgram hears everything;
    this is for a speech recognition that gets whole utterances."""
    activation_threshold: float = Field(default=0.5, ge=0.01, le=0.99)
    """How sure the detector must be that a frame is speech (Silero's default). Raise it where noise counts as speech,
    lower it where soft voices go unnoticed."""
    vad_sample_rate: int = Field(default=16000, ge=8000, le=16000, multiple_of=8000)
    """Samples a second that the detector looks at (Silero's default): 16000, or 8000, which is all that calls from the
    telephone network have."""
    turn_detection: Literal["model", "vad", "stt", "manual"] = "model"
    """What decides that the caller is done. "model": LiveKit's default turn detector, which runs locally in the job
    and needs no account; it takes about 240 MiB, shared by all workers. "vad": silence alone (any
    `min_silence_duration`). "stt": Deepgram's end of speech. "manual": nothing; your own client ends the turns."""
    frame_ms: int = Field(default=50, ge=10, le=200)
    """Milliseconds of the caller's sound handled at a time (LiveKit's default; the guide's AUDIO_BUFFER_SIZE of
    1024 samples is 43). 20 answers sooner for a quarter more CPU, more than 50 saves none: see docs/performance.md."""
    greeting: str = "Hello, this is MindBot. How can I help you?"
    """What the agent says first; empty: it waits for the caller."""
    instructions: str = (
        "You are MindBot, a friendly and helpful voice assistant. You are on a live call: answer in one to three "
        "short spoken sentences, without lists, markup or emoji. Ask back when you did not understand, and say so "
        "when you do not know."
    )
    """The system prompt. What is spoken should be short: long answers are long to wait for."""
    openai_concurrency: int = Field(default=5, ge=1, le=1000)
    """Requests to OpenAI at one time, of all calls of this daemon together (the guide's 5); further ones wait their
    turn. Raise it with the number of calls, lower it when OpenAI answers 429."""
    deepgram_concurrency: int = Field(default=50, ge=1, le=1000)
    """Connections to Deepgram at one time, of all calls of this daemon together: a call holds one from its beginning
    to its end. Set it to what your plan allows: further calls wait for one instead of being refused."""
    stt_fallbacks: tuple[str, ...] = ("nova-2",)
    """Deepgram models that step in, in this order, while `stt_model` fails; [] for none. Where Deepgram refuses the key
    they are not tried: it is the same for all of them."""
    llm_fallbacks: tuple[str, ...] = ()
    """OpenAI models that step in, in this order, while `llm_model` fails. OpenAI limits each model by itself: another
    one still answers. While one stands in, the first is tried again at each turn, which costs its tokens."""
    tts_fallbacks: tuple[str, ...] = ()
    """OpenAI models that step in, in this order, while `tts_model` fails. While one stands in, the first is tried again
    with each sentence, which costs its characters."""
    connect_retries: int = Field(default=3, ge=0, le=20)
    """How often a job tries to connect to its room again, after 1, 2, 4 … seconds, give or take a quarter (the guide's
    3)."""
    reply_timeout: float = Field(default=5, ge=0.2, le=60)
    """Seconds in which the model that answers, or speaks, must begin, and then go on: otherwise that attempt has
    failed. The caller hears nothing meanwhile. (LiveKit's own: 10 for the answer, 30 for the voice.)"""
    reply_retries: int = Field(default=1, ge=0, le=10)
    """How often that model is asked again for the same reply, a tenth of a second after it failed and then every 2
    seconds, until `excuse` is said. (LiveKit's own: 3.)"""
    excuse: str = "Sorry, something went wrong just now. Could you say that again?"
    """What the agent says when a reply failed; empty: nothing, and the caller waits in vain."""
    failed_replies: int = Field(default=3, ge=1, le=20)
    """When so many replies in a row have failed, the call ends as `on_failure` says."""
    apology: str = "I am sorry, I have a technical problem and cannot go on. Please call again later."
    """What the agent says before it ends a call that cannot go on, where its voice still works; empty: nothing. This
    key and the next also hold for agents of your own that use `robust_entrypoint`."""
    on_failure: Literal["close", "leave", "handover"] = "close"
    """What becomes of a call that cannot go on. "close": the room is deleted, so that the caller's line ends. "leave":
    the agent leaves, and the room stays for whoever else is in it. "handover": a new agent is sent into the room, once,
    and goes on with the call; where `recovery` is off, or the new agent fails too, the room is closed."""
    openai_base_url: OptionalUrl = Field(default="", repr=False)
    """Base URL of an OpenAI-compatible service, with its /v1; empty: OpenAI's own."""
    deepgram_base_url: OptionalUrl = Field(default="", repr=False)
    """URL of a Deepgram-compatible service, with its /v1/listen; empty: Deepgram's own."""
