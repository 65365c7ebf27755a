"""The Parquet feature store: layout, writer, reader, catalog."""
