#!/usr/bin/env bash
# Builds the control plane into the directory given as the only argument.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Servers and kubectl say which version they are; a build of the module alone
# does not know. client-go has a version of its own, for its User-Agent.
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${version#v}"
flags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
  flags+=" -X $package.gitCommit= -X $package.gitTreeState=clean"
done

CGO_ENABLED=0 go build -v -trimpath -buildvcs=false -ldflags "$flags" -o "$1/controlplane" .
ln -s controlplane "$1/kubectl"
