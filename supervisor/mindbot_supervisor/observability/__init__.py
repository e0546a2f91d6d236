"""What operators touch: logs, status, control socket. It is handed callables, and knows nothing of the runtime."""
