"""Plain networks: no knowledge of policies, observations or losses."""
