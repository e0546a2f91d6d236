"""The template: a process that imports the agent once, and forks every worker from that one image.

__main__     its life: load, check, start the forkserver, serve
loading      importing the agent, and whether the image may be forked at all (safety)
jobserver    one forkserver for the job processes of all workers, forked from the same image
serving      requests of the supervisor: wire_template is the protocol
newborn      what makes a forked process a worker of its own
freshness    whether the code on disk is still the code that was imported
"""
