"""Jobs on clusters: checked here, sent there, watched and stopped from here."""
