"""What the server reads and writes, one protocol a file; what our own client reads too is in dspark_local.wire."""
