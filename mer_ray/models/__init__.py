"""A Batch becomes Predictions."""
