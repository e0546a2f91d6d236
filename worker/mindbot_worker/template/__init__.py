"""The pre-fork template: a process that imports the agent once, and forks each worker from itself. May import every
folder of this package except `mindbot` and `standins`. No thread and no event loop may be started in here: a process
that has either cannot be forked safely.
"""
