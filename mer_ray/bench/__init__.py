"""The figures of the project, measured side by side."""
