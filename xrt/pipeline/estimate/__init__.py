"""What a run will take: seconds, memory, disk."""
