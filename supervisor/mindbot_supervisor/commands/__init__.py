"""One file for each command: `add` describes it to the command line, the handler does it."""
