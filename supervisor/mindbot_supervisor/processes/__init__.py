"""The acting half: processes, pipes, /proc and the clock. It carries out what the core decides, and decides nothing."""
