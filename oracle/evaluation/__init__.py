"""The referee: questions about held-out targets under controls that would expose a fake, graded by execution."""
