"""Legible zoos: networks with a history (seeded, anchored, controls), and what can be measured of them.

tasks     a program as tables over its inputs, with the values of its variables
network   many networks at once: initial weights, and a run that keeps and edits the residual states
trainer   many networks trained at once, with learning rates an entry and penalties on states
"""
