"""Worker processes, the memory they share with the main process, and their job: making one clip."""
