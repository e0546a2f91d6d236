"""The settings of mindbot-supervisor: their tables, where they are read from, and how they are refused.

It imports pydantic, pydantic-settings, python-dotenv and the standard library, and nothing of the daemon or the worker.
Whatever starts a process, opens a socket or keeps state belongs elsewhere.
"""
