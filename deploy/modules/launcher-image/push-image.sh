#!/bin/sh
# Pushes the launcher image to this account's registry: a copy of SOURCE_IMAGE or, if that is empty, an image
# built from the source tree REPOSITORY, for PLATFORM. Called by main.tf; requires docker and the AWS CLI.
set -eu

: "${AWS_REGION:?is not set}" "${TARGET_IMAGE:?is not set}" "${REPOSITORY:?is not set}" "${PLATFORM:?is not set}"
source=${SOURCE_IMAGE:-}

for tool in docker aws; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "$tool is not installed: install it, or set push_image = false and push $TARGET_IMAGE yourself" >&2
    exit 1
  fi
done

registry=${TARGET_IMAGE%%/*}
aws ecr get-login-password --region "$AWS_REGION" | docker login --username AWS --password-stdin "$registry"
if [ -n "$source" ]; then
  docker pull --platform "$PLATFORM" "$source"
  docker tag "$source" "$TARGET_IMAGE"
else
  docker build --platform "$PLATFORM" --file "$REPOSITORY/deploy/docker/Dockerfile" --target launcher \
    --tag "$TARGET_IMAGE" "$REPOSITORY"
fi
docker push "$TARGET_IMAGE"
