"""What this computer has, measured once and kept, or what somebody says another one has."""
