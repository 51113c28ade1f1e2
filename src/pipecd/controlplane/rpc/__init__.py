"""RPC layer: one method table, two servers (gRPC and Connect), and one handler package per service."""
