"""The fault harness of the store: what each module breaks, and what must hold (README.md)."""
