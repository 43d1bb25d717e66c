"""Redis or Valkey: the only importer of redis. Keys, scripts, records; nothing here decides what a caller may do."""
