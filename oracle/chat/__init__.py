"""The questions of an evaluation put to any chat model, which sees pairs, source or nothing, and never the weights.

`oracle.inspect_task` runs them under Inspect AI; nothing here needs it but `export`, which reads its logs.
"""
