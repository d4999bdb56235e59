"""Archives: every document of a folder through the guarded path, once, into tables.

    inputs (what is there) -> catalog (which documents these are) -> a source (the guard here, a service, guards on Ray)
        -> journal (durable, one line a document) -> tables (Parquet parts)

A run that is killed is started again with the same command: what the journal or the tables have is not asked again.
Terminal, logs, errors and tables hold no file name: only `files.parquet` does, for the operator.
"""
