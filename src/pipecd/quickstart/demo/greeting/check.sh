# Refuses a greeting that does not fit on a line.
length=$(wc -c < greeting.txt)
echo "greeting.txt has $length bytes, $LIMIT are allowed"
test "$length" -le "$LIMIT"
