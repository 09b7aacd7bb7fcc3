//! Network namespaces, real servers and clients for tests, demonstration and measurement.
