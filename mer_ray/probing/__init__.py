"""SHELL: closed-form probes of all layers of a store, a ranking, and a training of the best."""
