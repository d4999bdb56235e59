"""The redacted document as a file, made of verified pixels alone."""
