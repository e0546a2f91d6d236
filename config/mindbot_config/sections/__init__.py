"""The tables of the TOML file, one file each: every key with its type, default, bounds and documentation.

They import pydantic and the base class in base.py only, so that the pure core may use them.
Nothing here reads a file or the environment, and no table knows of another: what must fit together is checked in
settings.py. All durations are seconds, all memory is MiB (2**20 bytes) of the worker's whole process tree.
"""
