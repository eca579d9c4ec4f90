"""The models we know, as data, and how people name them."""
