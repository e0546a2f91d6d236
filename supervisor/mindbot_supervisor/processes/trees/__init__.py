"""Process trees: which process belongs to which worker, stack dumps, and the end of whole trees. Imports core,
processes and monitoring. Nothing in here decides which worker is ended.
"""
