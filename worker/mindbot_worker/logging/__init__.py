"""What the worker says on stdout and stderr: JSON lines, without ever waiting for whoever reads them."""
