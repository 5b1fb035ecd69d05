"""Fuzz targets: any bytes, and what must hold of them (README.md)."""
