"""Wire formats between supervisor and worker: heartbeat, inbox, template. Imports the standard library only.
Nothing in here reads or writes a descriptor.
"""
