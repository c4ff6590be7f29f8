"""What every study uses: jobs, caches, worker processes."""
