"""Search over configs: layers, models, loss weights, thresholds, by Ray Tune and Optuna."""
