#!/bin/sh
# Builds a release that launchers can install: make-release.sh VERSION DIRECTORY [PRIVATE-KEY]
#
#   deploy/release/make-release.sh v0.2.0 releases release-private.pem
#   aws s3 sync releases/v0.2.0 s3://my-releases/pipecd/v0.2.0
#
# Run it in the root of the repository, at the commit to release, with Node and Python 3.11. It creates
# DIRECTORY/VERSION with the package, its dependencies (pinned in requirements/agent.txt), SHA256SUMS and, if a
# private Ed25519 key (openssl genpkey -algorithm ed25519) is given, SHA256SUMS.sig.
#
# Environment variables: PLATFORMS and PYTHONS (the target platforms and Python versions, separated by blanks) and
# REQUIREMENTS (the file of pinned dependencies).
set -eu

version=${1:?name a version, for example v0.2.0}
directory=${2:?name a directory for the release}
key=${3:-}
requirements=${REQUIREMENTS:-requirements/agent.txt}
platforms=${PLATFORMS:-manylinux2014_x86_64}
pythons=${PYTHONS:-3.11}

source_version=$(sed -n 's/^__version__ = "\(.*\)"$/v\1/p' src/pipecd/__init__.py)
if [ "$source_version" != "$version" ]; then
  echo "src/pipecd/__init__.py has version $source_version: set the version there and in pyproject.toml first" >&2
  exit 1
fi
if [ -n "$key" ] && ! openssl pkey -in "$key" -noout 2>/dev/null; then
  echo "$key is not a private key that can be read: name one made by openssl genpkey -algorithm ed25519" >&2
  exit 1
fi
if [ -e "$directory/$version" ]; then
  echo "$directory/$version exists: a published release is never changed, choose another version" >&2
  exit 1
fi

[ -f src/pipecd/console/index.html ] || make console

unfinished="$directory/.$version.unfinished"
rm -rf "$unfinished"
mkdir -p "$unfinished"
pip wheel --quiet --no-deps --wheel-dir "$unfinished" .
for python in $pythons; do
  for platform in $platforms; do
    # Also accept wheels built for the other manylinux tags of the platform.
    pip download --quiet --no-deps --require-hashes --only-binary :all: --python-version "$python" \
      --platform "$platform" --platform "$(echo "$platform" | sed 's/manylinux2014/manylinux_2_28/')" \
      --platform "$(echo "$platform" | sed 's/manylinux2014/manylinux_2_17/')" \
      --dest "$unfinished" --requirement "$requirements"
  done
done
(cd "$unfinished" && sha256sum -- *.whl > SHA256SUMS)
if [ -n "$key" ]; then
  # In two steps: a shell ignores the failure of the first command of a pipe.
  openssl pkeyutl -sign -rawin -inkey "$key" -in "$unfinished/SHA256SUMS" -out "$unfinished/signature"
  base64 < "$unfinished/signature" > "$unfinished/SHA256SUMS.sig"
  rm "$unfinished/signature"
fi
mv "$unfinished" "$directory/$version"
set -- "$directory/$version"/*
echo "$directory/$version: $# files"
