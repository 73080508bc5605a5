"""Other libraries' names for what Postlude computes, one package a library."""
