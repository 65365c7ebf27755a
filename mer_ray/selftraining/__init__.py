"""SHELL over training and prediction: teachers label unlabelled clips, students learn from both."""
