"""The embedded engine: answers from the cleared page's own text and layout, on a CPU, and says when it cannot tell.

Files in the order of the data: values (amounts, dates), page (rows, cells), fields (label and value), table, hidden,
embedding, question, totals, dates, answering, schema, role (the child process), engine (the port).
"""
