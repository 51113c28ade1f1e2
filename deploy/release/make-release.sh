#!/bin/sh
# Makes a release that launchers install: make-release.sh VERSION FOLDER [PRIVATE-KEY]
#
#   deploy/release/make-release.sh v0.2.0 releases release-private.pem
#   aws s3 sync releases/v0.2.0 s3://my-releases/pipecd/v0.2.0
#
# Run from the top of the repository, at the commit to release, with Node and Python 3.11. FOLDER/VERSION then has
# the package, every package that it needs (pinned in requirements/agent.txt), SHA256SUMS, and with a private
# Ed25519 key (openssl genpkey -algorithm ed25519) SHA256SUMS.sig. PLATFORMS and PYTHONS say for which machines.
set -eu

version=${1:?give a version, for example v0.2.0}
folder=${2:?give a folder for the release}
key=${3:-}
requirements=${REQUIREMENTS:-requirements/agent.txt}
platforms=${PLATFORMS:-manylinux2014_x86_64}
pythons=${PYTHONS:-3.11}

named=$(sed -n 's/^__version__ = "\(.*\)"$/v\1/p' src/pipecd/__init__.py)
if [ "$named" != "$version" ]; then
  echo "src/pipecd/__init__.py says $named: set the version there and in pyproject.toml first" >&2
  exit 1
fi
if [ -e "$folder/$version" ]; then
  echo "$folder/$version exists: a release is never changed, give it another version" >&2
  exit 1
fi

unfinished="$folder/.$version.unfinished"
rm -rf "$unfinished"
mkdir -p "$unfinished"
pip wheel --quiet --no-deps --wheel-dir "$unfinished" .
for python in $pythons; do
  for platform in $platforms; do
    # Wheels of older and newer kinds of the same platform are taken too.
    pip download --quiet --no-deps --require-hashes --only-binary :all: --python-version "$python" \
      --platform "$platform" --platform "$(echo "$platform" | sed 's/manylinux2014/manylinux_2_28/')" \
      --platform "$(echo "$platform" | sed 's/manylinux2014/manylinux_2_17/')" \
      --dest "$unfinished" --requirement "$requirements"
  done
done
(cd "$unfinished" && sha256sum -- *.whl > SHA256SUMS)
if [ -n "$key" ]; then
  openssl pkeyutl -sign -rawin -inkey "$key" -in "$unfinished/SHA256SUMS" | base64 > "$unfinished/SHA256SUMS.sig"
fi
mv "$unfinished" "$folder/$version"
set -- "$folder/$version"/*
echo "$folder/$version: $# files"
