"""SHELL: bundles applied to a store or to raw clips; evaluation and export."""
