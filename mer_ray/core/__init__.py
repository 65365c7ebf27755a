"""Words that all packages share; imports nothing else of mer_ray."""
