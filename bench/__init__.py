"""Benchmarks: speed as ratios measured side by side in one run, and what speed must not change."""
