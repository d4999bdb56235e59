"""Zone 2: engines behind one port. Sees cleared pixels only, after their clearance was checked."""
