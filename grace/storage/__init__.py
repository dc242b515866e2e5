"""Where results lie: folders on a disk or in an object store, and files in them that appear whole."""
