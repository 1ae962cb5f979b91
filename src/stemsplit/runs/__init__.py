"""Work on tracks: plan the jobs, do them one by one, and write what comes of each."""
