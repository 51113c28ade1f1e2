#!/bin/sh
# Simulates a service that fails with more than 1000 requests.
requests=$(cat "$1")
echo "the limit is $requests requests"
if [ "$requests" -gt 1000 ]; then
  echo "ERROR: the service failed; roll back the limit" >&2
  exit 1
fi
echo "the service is healthy"
