"""Personal data in text: recognisers, form rules and the worker that runs them."""
