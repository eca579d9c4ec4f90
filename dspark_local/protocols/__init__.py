"""The words of DeepSeek-V4: chat encoding, tokenization, and the parsing of what the model writes. Torch-free."""
