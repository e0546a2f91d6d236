"""What the daemon measures: the memory and CPU of each worker's processes (psutil), the pressure on the host or the
container (PSI), and what the kernel's OOM killer did (cgroup counters, kernel log).

May import the core, the process tree and mindbot_config. Nothing in here decides anything, or ends a process.
"""
