"""What every stage shares: specs, errors, random streams, statistics, the codec, the controller contract."""
