"""What the product's web processes share: headers, sessions, assets and their look. It knows neither zone."""
