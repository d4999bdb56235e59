"""What may pass: one file a tenant, read into a closed, frozen model with a digest."""
