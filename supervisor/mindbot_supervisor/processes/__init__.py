"""Everything that is done to processes: workers are launched, read, limited and killed here, with their whole trees.
Imports core, monitoring and the worker's wire formats. Nothing in here decides: the core says which worker is started
or ended.
"""
