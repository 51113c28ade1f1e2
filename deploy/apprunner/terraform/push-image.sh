#!/bin/sh
# Copies SOURCE_IMAGE to TARGET_IMAGE in this account's registry. Called by main.tf; needs docker and the AWS CLI.
set -eu

: "${AWS_REGION:?is not set}" "${SOURCE_IMAGE:?is not set}" "${TARGET_IMAGE:?is not set}"

for tool in docker aws; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "$tool is not installed: install it, or set push_image = false and push $SOURCE_IMAGE to $TARGET_IMAGE yourself" >&2
    exit 1
  fi
done

registry=${TARGET_IMAGE%%/*}
aws ecr get-login-password --region "$AWS_REGION" | docker login --username AWS --password-stdin "$registry"
docker pull --platform linux/amd64 "$SOURCE_IMAGE"
docker tag "$SOURCE_IMAGE" "$TARGET_IMAGE"
docker push "$TARGET_IMAGE"
