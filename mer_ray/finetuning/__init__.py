"""SHELL: an encoder trained on the labels of the clips; the result is adapters that `extract` takes."""
