"""Runs become tables and one HTML page."""
