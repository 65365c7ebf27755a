"""Shell over store, batching, models and objectives: trained runs."""
