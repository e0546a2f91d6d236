"""Requests to OpenAI and Deepgram, with limits that all calls of a host share: concurrency, pauses after a rate limit,
usage, and fallbacks to other models. May import `protocol` and `livekit_adapter`; the clients come from the providers'
own libraries. Nothing in here may know an agent, a room or a job.
"""
