"""The control socket and the HTTP pages: listeners, server, operators' commands. Imports core and observability and
is handed callables. Nothing in here decides about the pool.
"""
