"""Getting models from a hub: what is listed, what may be taken, and a download that survives whatever happens."""
