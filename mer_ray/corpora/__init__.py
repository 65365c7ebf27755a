"""A corpus on disk or S3 becomes manifest rows; folds; validation; the synthetic corpus."""
