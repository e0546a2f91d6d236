"""Workers and slots: their model, their lifecycle and when an empty slot is filled. Pure; imports only core and the
settings' models. Nothing in here starts, signals or reads a process.
"""
