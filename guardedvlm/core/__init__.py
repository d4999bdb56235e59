"""Pure values that every zone shares: numpy and the standard library only."""
