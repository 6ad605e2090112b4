#!/usr/bin/env bash
# Builds helm into the directory given as the only argument.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Helm says which version it is, and which Kubernetes it renders for where it asks none: that of its client library, as
# its own releases do.
version=$(go list -m -f '{{.Version}}' helm.sh/helm/v3)
IFS=. read -r _ minor _ <<<"$(go list -m -f '{{.Version}}' k8s.io/client-go)"
flags="-s -w -X helm.sh/helm/v3/internal/version.version=$version -X helm.sh/helm/v3/internal/version.metadata="
for package in pkg/chartutil pkg/lint/rules; do
  flags+=" -X helm.sh/helm/v3/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/$package.k8sVersionMinor=$minor"
done

CGO_ENABLED=0 go build -v -trimpath -buildvcs=false -ldflags "$flags" -o "$1/helm" helm.sh/helm/v3/cmd/helm
