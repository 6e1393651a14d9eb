"""Programs and helpers for working on the project: not part of what is installed."""
