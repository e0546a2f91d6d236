"""Template processes, from which workers are forked, and the forkservers of their jobs. Imports core and processes.
Nothing in here decides when a worker is started.
"""
