"""The compiler from RASP programs to transformers, one pass a file (see `compile.py`)."""
