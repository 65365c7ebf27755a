"""Stored rows become a Batch: align modalities, normalise, collate."""
