//! The virtual server itself, generic over the platform that it runs on.
