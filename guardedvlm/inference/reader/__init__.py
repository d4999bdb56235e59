"""The embedded engine: answers from the cleared page's own text and layout, on a CPU, and says when it cannot tell.

Files in the order of the data: values (amounts, dates), wording (comparing labels), page (rows, cells), fields (label
and value), table (lists), totals, issued, kinds, hidden; vocabulary, question; lookup, answer,
answering, schema; role (the child process), reply, engine (the port).
"""

from guardedvlm.inference.reader.engine import ReaderEngine, reader_worker_spec

__all__ = ["ReaderEngine", "reader_worker_spec"]
