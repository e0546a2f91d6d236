"""What the daemon, its workers and its commands do with text before it leaves the process.

`redaction` (with `spellings`) masks secrets, `printable` escapes what a terminal would obey, `strict_json` writes JSON
that every reader accepts, `log_chain` and `log_records` are the structlog processors of every process, and
`rate_limit` counts what is told too often. It may import the standard library, structlog (inside functions: it takes
long to load) and `mindbot_config.credentials`; nothing here reads a setting, opens a file or starts a thread.
"""
