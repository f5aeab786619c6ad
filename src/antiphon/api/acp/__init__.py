"""The Agent Client Protocol over two byte streams: an editor and an instance."""
