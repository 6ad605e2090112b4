#!/usr/bin/env bash
# Builds kubeconform into the directory given as the only argument, and beside it, in a folder for each, the schemas of the
# oldest Kubernetes that the chart is for and of the test bed's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
CGO_ENABLED=0 go build -v -trimpath -buildvcs=false -ldflags "-s -w" -o "$1/kubeconform" github.com/yannh/kubeconform/cmd/kubeconform
go build -v -trimpath -buildvcs=false -o "$1/schemas" ./schemas
# Each version's module has its OpenAPI document; the module is checked by the checksum database of Go.
while read -r version; do
  module=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  mkdir -p "$1/$version"
  "$1/schemas" "$1/$version" "$module/api/openapi-spec/swagger.json"
done <versions
rm "$1/schemas"
