"""Experiments on legible zoos: each trains its networks, measures them beside their controls and writes a report."""
