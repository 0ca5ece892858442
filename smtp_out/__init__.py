"""Outbound SMTP: the queue drained towards other operators, over mutual TLS or not at all."""
