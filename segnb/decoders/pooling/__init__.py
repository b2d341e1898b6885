"""See context through pooling windows and dilated convolutions."""
