# A service that breaks down when more than 1000 requests are let in.
requests=$(cat "$1")
echo "the service lets in $requests requests"
if [ "$requests" -gt 1000 ]; then
  echo "ERROR: it broke down; take the limit back" >&2
  exit 1
fi
echo "all is well"
