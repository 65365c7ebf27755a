"""Predictions and a Batch become losses and metrics."""
