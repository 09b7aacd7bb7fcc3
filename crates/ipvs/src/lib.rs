//! IPVS's control protocol: messages, typed model, client and server.
