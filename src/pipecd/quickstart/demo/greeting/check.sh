#!/bin/sh
# Fails if the greeting does not fit on one line.
length=$(wc -c < greeting.txt)
echo "greeting.txt has $length bytes; the limit is $LIMIT"
test "$length" -le "$LIMIT"
