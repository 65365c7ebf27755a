"""Job files: schema and the runner of their steps."""
