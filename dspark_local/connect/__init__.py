"""Configuration of other people's programs, so that they talk to this server. Data in clients.toml, no torch."""
