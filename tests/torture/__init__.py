"""What the promises of the command line are worth: kills, full disks, damaged files and hostile words, and a count."""
