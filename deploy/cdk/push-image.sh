#!/bin/sh
# Builds the launcher image from this repository and pushes it to ECR: push-image.sh REPOSITORY TAG [PLATFORM].
# PLATFORM is linux/amd64 (default), or linux/arm64 for cpu_architecture=ARM64.
# Run it before the first `cdk deploy`. Requires docker and the AWS CLI.
set -eu

name=${1:?name the ECR repository, for example piped-launcher}
tag=${2:?name a tag, for example v0.1.0}
platform=${3:-linux/amd64}
root=$(cd "$(dirname "$0")/../.." && pwd)

if ! uri=$(aws ecr describe-repositories --repository-names "$name" --query 'repositories[0].repositoryUri' --output text 2>/dev/null); then
  uri=$(aws ecr create-repository --repository-name "$name" --image-scanning-configuration scanOnPush=true \
    --query repository.repositoryUri --output text)
fi
aws ecr get-login-password | docker login --username AWS --password-stdin "${uri%%/*}"
docker build --platform "$platform" --file "$root/deploy/docker/Dockerfile" --target launcher --tag "$uri:$tag" "$root"
docker push "$uri:$tag"
